//! `precentor dev`: a cluster of real processes on this machine, to try things. Starts
//! them, starts again what dies, and ends them all.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use rustix::process::{Pid, Signal, kill_process};

use super::{CommandError, Exit, canonical, for_each_signal, print, project_of, warn};
use crate::options::Dev;
use crate::pki::{self, Authority, CA_FILE, PkiError};
use crate::seed;
use crate::server::config::ServerConfig;
use crate::server::{self, ServerError};
use crate::tls::Who;

const NODES: u16 = 3;
/// How long what proves who is who is good for: as long as anybody tries things.
const GOOD_FOR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How often it is looked whether somebody died.
const LOOK_EVERY: Duration = Duration::from_millis(200);

fn failed(what: impl std::fmt::Display) -> impl Fn(std::io::Error) -> CommandError {
    move |error| CommandError::new(Exit::Incomplete, format!("cannot {what}: {error}"))
}

pub(super) fn run(verb: &Dev) -> Result<Exit, CommandError> {
    let source = canonical(&verb.dir)?;
    let project = project_of(verb.project.as_deref(), &source);
    let (data, is_ours) = match &verb.data {
        Some(data) => (
            std::path::absolute(data).map_err(failed("name --data"))?,
            false,
        ),
        None => {
            let name = format!("precentor-dev-{:016x}", seed::fresh());
            (std::env::temp_dir().join(name), true)
        }
    };
    std::fs::create_dir_all(&data).map_err(failed(format!("create {}", data.display())))?;
    let ended = play(verb, &data, &project, &source);
    if is_ours && let Err(error) = std::fs::remove_dir_all(&data) {
        warn(&format!("{} could not be removed: {error}", data.display()));
    }
    ended.map(|()| Exit::Done)
}

fn play(verb: &Dev, data: &Path, project: &str, source: &Path) -> Result<(), CommandError> {
    let ports = ports(verb.port)?;
    let pki = Papers::make(data)?;
    let mut roles = Vec::new();
    let mut urls = Vec::new();
    for node in 0..NODES {
        let config = data.join(format!("n{}.toml", node + 1));
        std::fs::write(&config, config_text(node, &ports))
            .map_err(failed("write a configuration"))?;
        match server::init(&ServerConfig::read(&config)?) {
            Ok(()) | Err(ServerError::Founded { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        urls.push(format!("https://127.0.0.1:{}", ports[usize::from(node)]));
        roles.push(Role {
            name: format!("n{}", node + 1),
            arguments: vec!["server".into(), "--config".into(), config.into()],
        });
    }
    let servers = urls.join(",");
    let mut place = std::ffi::OsString::from(format!("{project}="));
    place.push(source);
    roles.push(Role {
        name: "worker".to_owned(),
        arguments: vec![
            "worker".into(),
            "--server".into(),
            servers.clone().into(),
            "--ca".into(),
            pki.ca.clone().into(),
            "--cert".into(),
            pki.worker.into(),
            "--source".into(),
            place,
        ],
    });
    // For whoever tries things: one line instead of three.
    let environment = data.join("env");
    let lines = format!(
        "export PRECENTOR_SERVER={servers}\nexport PRECENTOR_CA='{}'\nexport PRECENTOR_CERT='{}'\n",
        pki.ca.display(),
        pki.user.display()
    );
    std::fs::write(&environment, lines).map_err(failed("write the environment"))?;
    let mut actors = Vec::new();
    for role in roles {
        actors.push(Actor::start(role)?);
    }
    print(&format!(
        "{} nodes and a worker run; Ctrl-C ends them. Who may read {} may do everything.\n  . {}\n  precentor submit {}\n  precentor status\n  curl --cacert $PRECENTOR_CA --cert $PRECENTOR_CERT {}/v1/status\n  kill -9 {}   (a node: it is started again)",
        NODES,
        data.display(),
        environment.display(),
        source.display(),
        urls[0],
        actors[0].child.id(),
    ));
    let watched = watch(&mut actors);
    // The worker first: it has something to give back.
    while actors.pop().is_some() {}
    watched
}

/// Starts again what dies, until it is told to end.
fn watch(actors: &mut [Actor]) -> Result<(), CommandError> {
    let (tell, told) = bounded(1);
    let over = Arc::new(AtomicBool::new(false));
    let flag = over.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for_each_signal(|| {
                if flag.swap(true, Ordering::Relaxed) {
                    std::process::exit(Exit::Interrupted as i32);
                }
                tell.send(()).is_ok()
            });
        })
        .map_err(failed("start a thread"))?;
    while let Err(RecvTimeoutError::Timeout) = told.recv_timeout(LOOK_EVERY) {
        for actor in actors.iter_mut() {
            let ended = actor
                .child
                .try_wait()
                .map_err(failed("look after a process"))?;
            // Ctrl-C reaches the whole group: what it ended is not started again.
            if let Some(status) = ended
                && !over.load(Ordering::Relaxed)
            {
                let role = actor.role.clone();
                warn(&format!(
                    "{} ended ({status}); it is started again",
                    role.name
                ));
                *actor = Actor::start(role)?;
            }
        }
    }
    Ok(())
}

fn config_text(node: u16, ports: &[u16]) -> String {
    let (clients, peers) = ports.split_at(usize::from(NODES));
    let nodes: String = peers
        .iter()
        .zip(1..)
        .map(|(port, number)| format!("{number} = \"127.0.0.1:{port}\"\n"))
        .collect();
    format!(
        "cluster = \"dev\"\nnode = {0}\ndata = \"n{0}\"\n\n[nodes]\n{nodes}\n[http]\nlisten = \"127.0.0.1:{1}\"\n\n[tls]\nca = \"pki/{CA_FILE}\"\ncertificate = \"pki/n{0}.pem\"\n",
        node + 1,
        clients[usize::from(node)]
    )
}

/// What proves who is who. Made at the first start with a data directory; whoever can read
/// that has it.
#[derive(Debug)]
struct Papers {
    ca: PathBuf,
    user: PathBuf,
    worker: PathBuf,
}

impl Papers {
    fn make(data: &Path) -> Result<Papers, CommandError> {
        let folder = data.join("pki");
        let found = folder.join(CA_FILE).exists();
        let authority = match found {
            true => Authority::open(&folder)?,
            false => Authority::found(&folder, "dev")?,
        };
        let write = |name: &str, who: Who, hosts: &[String]| {
            let path = folder.join(format!("{name}.pem"));
            match path.exists() {
                true => drop(pki::renew(&authority, &path, GOOD_FOR)?),
                false => pki::write_new(&path, &authority.sign(&who, hosts, GOOD_FOR)?)?,
            }
            Ok::<_, PkiError>(path)
        };
        for node in 1..=u64::from(NODES) {
            let hosts = ["127.0.0.1", "localhost"].map(str::to_owned);
            write(&format!("n{node}"), Who::Node(NodeId(node)), &hosts)?;
        }
        let client = |name: &str| Who::Client(Principal(name.to_owned()));
        Ok(Papers {
            user: write("user", client("user"), &[])?,
            worker: write("worker", client("worker"), &[])?,
            ca: folder.join(CA_FILE),
        })
    }
}

/// Ports for the clients of each node, and for its peers.
fn ports(first: Option<u16>) -> Result<Vec<u16>, CommandError> {
    if let Some(first) = first {
        let clients = first..first + NODES;
        return Ok(clients
            .clone()
            .chain(clients.map(|port| port + 10))
            .collect());
    }
    // All are held until all are found, so that no two are the same.
    let held: Vec<TcpListener> = (0..2 * NODES)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .map_err(failed("find a free port"))?;
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<_, _>>()
        .map_err(failed("find a free port"))
}

/// What a process is there for.
#[derive(Debug, Clone)]
struct Role {
    name: String,
    arguments: Vec<std::ffi::OsString>,
}

/// A process. Dropped, it ends in order.
#[derive(Debug)]
struct Actor {
    role: Role,
    child: Child,
}

impl Actor {
    /// Starts it, and waits until it says that it is there.
    fn start(role: Role) -> Result<Actor, CommandError> {
        let program: PathBuf = std::env::current_exe().map_err(failed("find this program"))?;
        let mut child = Command::new(program)
            .args(&role.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed(format!("start {}", role.name)))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(failed(format!("hear of {}", role.name)))?;
        }
        if line.is_empty() {
            let message = format!("{} did not start: see above", role.name);
            return Err(CommandError::new(Exit::Incomplete, message));
        }
        Ok(Actor { role, child })
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32)
            && matches!(self.child.try_wait(), Ok(None))
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            warn(&format!("{} could not be ended: {error}", self.role.name));
        }
        let _ = self.child.wait();
    }
}
