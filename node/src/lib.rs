//! The production node: threads, disks and sockets around the core, and the
//! command line over them. No rule of the protocol is here.

// What a node is made of.
pub mod blobstore;
pub mod disk;
pub mod fetcher;
pub mod host;
pub mod member;
pub mod net;
pub mod pilot;
mod reread;
pub mod scribe;
pub mod seed;
pub mod shelf;
pub mod space;
pub mod tls;

// What makes contexts, and shows them.
pub mod map;
pub mod render;
pub mod source;
pub mod worker;

// A node as a process of its own.
pub mod audit;
pub mod backup;
pub mod gateway;
pub mod http;
pub mod pki;
pub mod server;

// Who uses such nodes, from elsewhere.
pub mod remote;
pub mod submit;

// A cluster in one process, and who uses it.
pub mod client;
pub mod data_dir;
pub mod embedded;
pub mod generate;
pub mod live;
pub mod local_requests;
pub mod reader;

// The command line.
pub mod cli;
pub mod options;
