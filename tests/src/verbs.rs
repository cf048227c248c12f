//! What a script can do, verb by verb. Each is a few words to the world; what
//! happens is in the trace.
//!
//! ```text
//! knob [n1] NAME VALUE    given n1 log 1 1 2 [term 3] [vote n2] [commit 2] [repairing 3]   nodes 3
//! tick n1 20ms   stall n1 10s   elapse 30ms          one clock; one clock, asleep; all, with mail
//! deliver | drop [n1->n2 [COUNT] | to n1 | from n1]  deliver last n1->n2      wires
//! copy n1->n2 NAME   replay NAME                     cut n1 n2 | n1->n2   heal   down|up n1 peer n2
//! disk n1 reads-by-hand|reads-by-itself   report n1  old entries, installs and requests wait for the script
//! disk n1 manual|auto|unreadable   durable n1 [COUNT]   fail-write n1   lose n1 from i3
//! program n1 2                                       can do level 2 from its next start on
//! crash n1 [keeping COUNT]   kill n1   restart n1    power lost; sockets closed too; again
//! handover n1 [to n2]   stop n1   snapshot n1         open n1   session s2
//! submit n1 q1 [ack q1] PATH[@INPUT] [needs|wants PATH] [class C] [tenant T] [delay 5s] [engine E] [times N] + …
//! register n1 w1 [inc 2] [slots 2] [engines a,b]     poll n1 w1 [inc 2] [free 1] [holding 5.0 …]
//! leave n1 q2 [ack q1] j1 j2   cancel n1 j1 j2
//! take n1 q1 [ack q1] fresh|stale 500|cached|refresh|alone PATH…       as a submit, with a mode
//! invalidate n1 address|prefix PATH | engine E [version 2]   budget n1 4000|any
//! complete n1 j1 5.0 TEXT   fail n1 j1 5.0 retryable|permanent|busy|drained TEXT   release n1 j1 5.0
//! roles n1 NAME [ROLE [within|at PATH] [class C] + …]   all that NAME may do; nothing, if nothing is said
//! as NAME COMMAND                                    that client, worker or operator does it
//! annotate n1 q1 PATH person|agent at rev0 | by a1 a1:1 a2:3 + note NAME TEXT + no note NAME + …
//!     … + tag TAG + no tag TAG + summary TEXT + no summary
//! resolve n1 q2 PATH c7.0 rev2 person|agent keep a1:1 | dismiss | merge note NAME TEXT
//! ask n1 edited PATH | history PATH | conflicts [c7.0] 10
//! read n1 job j1 | context PATH                     what is committed by now
//! ask n1 job j1 | context PATH | cached PATH | cache | feed f0 | status   what it has applied; how it is
//! ask n1 end [after i4] j1 j2                        once they are over, or the hold time is
//! ask n1 unfinished PATH [after PATH] [10]           the jobs that are not over there and inside
//! locally n1 submit q1 PATH                          the same, and never waits: for what has a request
//! ask n1 recovery n1 n2                              go on with these only, as a last resort
//! ask n1 handover [n2]                               another leader, says an operator
//! together n1 read job j1 + as bob read job j2      requests that arrive at once
//! join n4 [life 2]   lives known   erase n3           no member yet; before `nodes`; its disk is lost
//! member n1 learner n4 | voter n4 | promote n4 | remove n3 | replace n3 n4 [life 2]
//! restore from n2                                    all are down, and founded anew with what n2 has saved
//! members | status | health | log | kept | queue | leases | promises | patience [n1]      same
//! show heartbeats|audit|answers|everything           quietly COMMAND
//! ```

mod asks;
mod edits;
mod fitting;
mod members;

use anyhow::{Context, Result, anyhow, bail};
use precentor_core::command::{Command, Entry};
use precentor_core::driver::Recovered;
use precentor_core::entry::{ChainHash, EntryKind, HardState, LogEntry};
use precentor_core::event::{Event, Order};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{LogIndex, NodeId, Sequence, Term};
use precentor_core::principal::Principal;
use precentor_core::status::Status;
use precentor_core::time::Stamp;
use precentor_core::view::View;
use precentor_core::wire;

use crate::trace::{words_of_body, words_of_message, words_of_queue};
use crate::words::Words;
use crate::world::{Flight, World};

use asks::client;

/// Who does what, if that is said: `as NAME COMMAND`.
fn by_whom(line: &str) -> (Option<Principal>, &str) {
    let named = line.strip_prefix("as ").and_then(|it| it.split_once(' '));
    match named {
        Some((name, line)) => (Some(Principal(name.to_owned())), line),
        None => (None, line),
    }
}

fn as_whom(
    world: &mut World,
    name: Principal,
    does: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let before = world.principal.replace(name);
    let done = does(world);
    world.principal = before;
    done
}

/// Does what a line says.
pub fn run(world: &mut World, line: &str) -> Result<()> {
    world.begin_command();
    if let Some(line) = line.strip_prefix("quietly ") {
        let before = world.trace.lines.len();
        run(world, line)?;
        world.trace.lines.truncate(before);
        return Ok(());
    }
    if let (Some(name), line) = by_whom(line) {
        return as_whom(world, name, |world| run(world, line));
    }
    let mut words = Words::new(line);
    match words.need("a verb")? {
        "nodes" => {
            let count = words.number("")?;
            world.found(count)?;
        }
        "seed" => world.seed = words.number("")?,
        "knob" => knob(world, &mut words)?,
        "program" => {
            let node = words.node()?;
            let level = u16::try_from(words.number("")?)?;
            world.programs.insert(node, FeatureLevel(level));
        }
        "given" => given(world, &mut words)?,
        "show" => match words.need("what to show")? {
            "heartbeats" => world.trace.show.heartbeats = true,
            "audit" => world.trace.show.audit = true,
            "answers" => world.trace.show.answers_only = true,
            "everything" => world.trace.show = Default::default(),
            other => bail!("{other:?} cannot be shown"),
        },
        "tick" => {
            let node = words.node()?;
            world.tick(node, words.span()?)?;
        }
        "stall" => {
            let node = words.node()?;
            world.stall(node, words.span()?)?;
        }
        "elapse" => world.elapse(words.span()?)?,
        "deliver" | "drop" | "copy" | "replay" | "wires" | "cut" | "heal" | "down" | "up" => {
            network(world, line)?;
            return Ok(());
        }
        "disk" => {
            let node = words.node()?;
            let machine = world.machine(node)?;
            match words.need("manual, auto or unreadable")? {
                "manual" => machine.disk_by_hand = true,
                "auto" => machine.disk_by_hand = false,
                "unreadable" => machine.disk_unreadable = true,
                "reads-by-hand" => machine.reads_by_hand = true,
                "reads-by-itself" => machine.reads_by_hand = false,
                other => bail!("{other:?} is nothing that a disk can be"),
            }
        }
        "durable" => {
            let node = words.node()?;
            let most = words.take().map_or(Ok(usize::MAX), str::parse)?;
            for _ in 0..most {
                let Some(write) = world.machine(node)?.disk.sync_one() else {
                    break;
                };
                world.trace.line(format!("{node} {write} is durable"));
                world.turn(node, vec![Event::Durable { write }])?;
            }
        }
        "report" => {
            let node = words.node()?;
            let machine = world.machine(node)?;
            let read = machine.reads.pop_front();
            let read = read.context("nothing is to be reported")?;
            if let Event::RequestKept { number } = read {
                machine.disk.request_kept(number);
            }
            world.turn(node, vec![read])?;
        }
        "fail-write" => {
            let node = words.node()?;
            let failed = world.machine(node)?.disk.fail_one();
            let write = failed.context("no write is on its way")?;
            world.turn(node, vec![Event::WriteFailed { write }])?;
        }
        "crash" | "kill" => return stop(world, line),
        "restart" => {
            let node = words.node()?;
            match world.start(node) {
                Ok(()) => {
                    let view = world.machine(node)?.driver.as_ref().expect("just started");
                    let view = view.view();
                    let (term, last) = (view.term(), view.last().index);
                    world
                        .trace
                        .line(format!("{node} starts in {term}, log ends {last}"));
                    world.connect(node)?;
                }
                Err(error) => world.trace.line(format!("{node} does not start: {error}")),
            }
        }
        "lose" => {
            let node = words.node()?;
            words.has("from");
            let from = LogIndex(words.number("i")?);
            world.machine(node)?.disk.lose(from);
        }
        "handover" => {
            let node = words.node()?;
            let to = match words.has("to") {
                true => Some(words.node()?),
                false => None,
            };
            world.turn(node, vec![Event::Order(Order::HandOver { to })])?;
        }
        "stop" => {
            let node = words.node()?;
            world.turn(node, vec![Event::Order(Order::Stop)])?;
        }
        "join" => {
            let node = words.node()?;
            let life = members::life_of(world, node, &mut words)?;
            world.join(node, life)?;
        }
        "lives" => {
            words.need("known")?;
            world.first_life = world.first_life.next();
        }
        "erase" => {
            let node = words.node()?;
            let life = world.erase(node)?;
            let line = format!("{node} lost its disk, and has an empty one: {life}");
            world.trace.line(line);
        }
        "restore" => {
            words.need("from")?;
            let node = words.node()?;
            let index = world.restore(node)?;
            let line = format!("a cluster is founded with what {node} has saved: {index}");
            world.trace.line(line);
        }
        "snapshot" => {
            let node = words.node()?;
            world.turn(node, vec![Event::Order(Order::Snapshot)])?;
        }
        "together" => {
            let node = words.node()?;
            world.gathered = Some(Vec::new());
            for request in words.rest().split(" + ") {
                let (name, request) = by_whom(request);
                let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
                let line = format!("{verb} {node} {rest}");
                match name {
                    Some(name) => as_whom(world, name, |world| client(world, &line))?,
                    None => client(world, &line)?,
                }
            }
            let events = world.gathered.take().expect("it was just put there");
            world.turn(node, events)?;
        }
        "open" | "session" | "submit" | "leave" | "cancel" | "redrive" | "purge" | "take"
        | "invalidate" | "budget" | "reprioritise" | "pause" | "resume" | "limit" | "needs"
        | "offer" | "keep" | "room" | "roles" | "annotate" | "resolve" | "expel" | "register"
        | "poll" | "complete" | "fail" | "fail_together" | "release" | "propose" | "ask"
        | "read" | "member" | "locally" => {
            return client(world, line);
        }
        "members" | "status" | "health" | "log" | "queue" | "promises" | "same" | "leases"
        | "patience" | "kept" => {
            return report(world, line);
        }
        other => bail!("{other:?} is no verb"),
    }
    words.end()
}

fn knob(world: &mut World, words: &mut Words<'_>) -> Result<()> {
    let word = words.need("a knob")?;
    if word.starts_with('n') && word[1..].parse::<u64>().is_ok() {
        let node = NodeId(word[1..].parse()?);
        let name = words.need("a knob")?.to_owned();
        world.knobs.get(&name)?;
        world.own_knobs.push((node, name, words.number("")?));
    } else {
        world.knobs.set(word, words.number("")?)?;
    }
    Ok(())
}

/// `given n1 log 1 1 2 [term 3] [vote n2] [commit 2]`: what a disk holds before
/// the first start. The entries open sessions: they do no harm anywhere.
fn given(world: &mut World, words: &mut Words<'_>) -> Result<()> {
    let node = words.node()?;
    let mut recovered = Recovered::default();
    let mut hard_state = HardState::default();
    let mut in_log = false;
    while let Some(word) = words.take() {
        match word {
            "log" => in_log = true,
            "term" => hard_state.term = Term(words.number("")?),
            "vote" => hard_state.vote = Some(words.node()?),
            "commit" => hard_state.commit = LogIndex(words.number("")?),
            "repairing" => hard_state.repairing = Some(LogIndex(words.number("")?)),
            term if in_log => {
                let term = Term(term.parse().with_context(|| format!("{term:?} no term"))?);
                let index = LogIndex(recovered.entries.len() as u64 + 1);
                let entry = Entry {
                    t: Stamp(0),
                    // Tells entries of one index and other terms apart.
                    wall_ms: term.0,
                    principal: Principal::cluster(),
                    request: None,
                    acknowledged: Sequence(0),
                    command: Command::OpenSession,
                };
                let body = wire::command::encode(&entry);
                let last = recovered.entries.last();
                recovered.entries.push(LogEntry {
                    index,
                    term,
                    chain: last.map_or(ChainHash(0), LogEntry::chain_after),
                    kind: EntryKind::Command,
                    body,
                });
                hard_state.term = hard_state.term.max(term);
            }
            other => bail!("{other:?} is not known in `given`"),
        }
    }
    recovered.hard_state = hard_state;
    world.given.insert(node, recovered);
    Ok(())
}

fn stop(world: &mut World, line: &str) -> Result<()> {
    let mut words = Words::new(line);
    let killed = words.need("a verb")? == "kill";
    let node = words.node()?;
    // Power is lost with a crash; a killed process leaves its writes to the system.
    let keep = match words.has("keeping") {
        true => usize::try_from(words.number("")?)?,
        false if killed => world.machine(node)?.disk.waiting_count(),
        false => 0,
    };
    words.end()?;
    world.stop(node, keep)?;
    world.take(|flight| flight.to == node, usize::MAX);
    if killed {
        // Its sockets close: its peers notice at once.
        let peers: Vec<_> = world.machines.keys().copied().collect();
        for peer in peers {
            if world.machine(peer)?.driver.is_some() && !world.cuts.contains(&(node, peer)) {
                world.turn(peer, vec![Event::PeerDown { peer: node }])?;
            }
        }
    }
    Ok(())
}

fn network(world: &mut World, line: &str) -> Result<()> {
    let mut words = Words::new(line);
    match words.need("a verb")? {
        "deliver" => deliver(world, &mut words)?,
        "drop" => {
            for flight in chosen(world, &mut words)? {
                let Flight { from, to, message } = flight;
                let message = words_of_message(&message);
                world.trace.line(format!("lost: {from}->{to} {message}"));
            }
        }
        "copy" => {
            let (from, to) = words.link()?;
            let name = words.need("a name for the copy")?.to_owned();
            let mut on_link = world.wires.iter().filter(|f| (f.from, f.to) == (from, to));
            let flight = on_link.next().context("nothing is on this link")?.clone();
            world.copies.insert(name, flight);
        }
        "replay" => {
            let name = words.need("a copy's name")?;
            let flight = world.copies.get(name).cloned();
            world.deliver(flight.with_context(|| format!("there is no copy {name:?}"))?)?;
        }
        "wires" => {
            for Flight { from, to, message } in &world.wires {
                let message = words_of_message(message);
                world.trace.lines.push(format!("{from}->{to} {message}"));
            }
        }
        "cut" => match words.maybe_link()? {
            Some(link) => {
                world.cuts.insert(link);
            }
            None => {
                let (a, b) = (words.node()?, words.node()?);
                world.cuts.extend([(a, b), (b, a)]);
            }
        },
        "heal" => world.cuts.clear(),
        "down" | "up" => {
            let down = line.starts_with("down");
            let node = words.node()?;
            words.has("peer");
            let peer = words.node()?;
            let event = match down {
                true => Event::PeerDown { peer },
                false => world.peer_up(peer),
            };
            world.turn(node, vec![event])?;
        }
        other => bail!("{other:?} is no verb"),
    }
    words.end()
}

fn deliver(world: &mut World, words: &mut Words<'_>) -> Result<()> {
    if words.clone().take().is_none() {
        return world.deliver_all();
    }
    let last = words.has("last");
    if last {
        let (from, to) = words.link()?;
        let mut wires = world.wires.iter();
        let position = wires.rposition(|f| (f.from, f.to) == (from, to));
        let flight = position.and_then(|position| world.wires.remove(position));
        return world.deliver(flight.context("nothing is on this link")?);
    }
    for flight in chosen(world, words)? {
        world.deliver(flight)?;
    }
    Ok(())
}

/// `n1->n2 [N]`, `to n1`, `from n1`, or everything.
fn chosen(world: &mut World, words: &mut Words<'_>) -> Result<Vec<Flight>> {
    if words.clone().take().is_none() {
        return Ok(world.take(|_| true, usize::MAX));
    }
    if words.has("to") {
        let node = words.node()?;
        return Ok(world.take(|flight| flight.to == node, usize::MAX));
    }
    if words.has("from") {
        let node = words.node()?;
        return Ok(world.take(|flight| flight.from == node, usize::MAX));
    }
    let link = words.link()?;
    let count = words.take().map_or(Ok(usize::MAX), str::parse)?;
    let taken = world.take(|flight| (flight.from, flight.to) == link, count);
    if taken.is_empty() {
        bail!("nothing is on {}->{}", link.0, link.1);
    }
    Ok(taken)
}

fn report(world: &mut World, line: &str) -> Result<()> {
    let mut words = Words::new(line);
    let verb = words.need("a verb")?;
    if verb == "same" {
        return same(world);
    }
    let nodes: Vec<NodeId> = match words.clone().take() {
        Some(_) => vec![words.node()?],
        None => world.machines.keys().copied().collect(),
    };
    for node in nodes {
        let lines = match verb {
            "promises" => promises(world, node)?,
            _ => about(world, verb, node)?,
        };
        world.trace.lines.extend(lines);
    }
    words.end()
}

fn about(world: &mut World, verb: &str, node: NodeId) -> Result<Vec<String>> {
    let Some(driver) = &world.machine(node)?.driver else {
        return Ok(vec![format!("{node} is down")]);
    };
    let view = driver.view();
    Ok(match verb {
        "members" => vec![members::words_of_members(view)],
        "status" => {
            let leader = view.leader().map_or("nobody".into(), |l| l.to_string());
            vec![format!(
                "{node} {:?} in {}, leader {leader}; log {}, durable {}, commit {}, applied {}",
                view.role(),
                view.term(),
                view.last().index,
                view.durable(),
                view.commit(),
                view.applied()
            )]
        }
        "health" => words_of_health(node, &view.status()),
        "log" => (view.window_first().0..=view.last().index.0)
            .filter_map(|index| view.entry_at(LogIndex(index)))
            .map(|entry| {
                let words = words_of_body(entry);
                format!("{node} {}@{} {words}", entry.index, entry.term)
            })
            .collect(),
        "queue" => words_of_queue(driver),
        "kept" => words_of_kept(node, view),
        "patience" => {
            let (least, most) = view.election_timeout();
            let (least, most) = (least.as_ms(), most.as_ms());
            vec![format!("{node} waits {least} to {most} ms for its leader")]
        }
        "leases" => view
            .queue()
            .leases()
            .map(|(worker, token, job)| format!("{node} {worker} holds {job} by {token}"))
            .collect(),
        other => return Err(anyhow!("{other:?} is no verb")),
    })
}

/// Itself, its peers, the workers, and what the cluster did of itself.
fn words_of_health(node: NodeId, status: &Status) -> Vec<String> {
    let mut lines = vec![format!("{node} is {}", status.own)];
    let peers = status.peers.iter();
    lines.extend(peers.map(|peer| format!("{node} sees {peer}")));
    let workers = status.workers.iter();
    lines.extend(workers.map(|worker| format!("{node} sees {worker}")));
    lines.push(format!("{node} saw {}", status.recovery));
    lines
}

fn promises(world: &mut World, node: NodeId) -> Result<Vec<String>> {
    let disk = &world.machine(node)?.disk;
    let Recovered {
        hard_state,
        snapshot,
        entries,
        kept: _,
        local: _,
    } = disk.recovered();
    let vote = hard_state.vote.map_or("nobody".into(), |v| v.to_string());
    let log: Vec<_> = entries
        .iter()
        .map(|entry| format!("{}@{}", entry.index, entry.term))
        .collect();
    let snapshot = snapshot.map_or(String::new(), |s| format!(", snapshot of {}", s.meta.index));
    Ok(vec![format!(
        "{node} disk: {} vote {vote}, log [{}]{snapshot}, {} writes on their way",
        hard_state.term,
        log.join(" "),
        disk.waiting_count()
    )])
}

/// Nodes that have applied the same entries are in the same state.
fn same(world: &mut World) -> Result<()> {
    let states: Vec<_> = world
        .machines
        .iter()
        .filter_map(|(node, machine)| {
            let driver = machine.driver.as_ref()?;
            Some((driver.view().state_hash(), *node))
        })
        .collect();
    for (state, node) in &states {
        for (other, peer) in &states {
            if state.index == other.index && state.hash != other.hash {
                bail!("{node} and {peer} differ at {}", state.index);
            }
        }
        world.trace.lines.push(format!(
            "{node} has applied {}, equal to all others there",
            state.index
        ));
    }
    Ok(())
}

/// What a node keeps for its clients, and what became of the rest.
fn words_of_kept(node: NodeId, view: View<'_>) -> Vec<String> {
    let kept: Vec<String> = view
        .queued_locally()
        .map(|(_, id, durable)| {
            let unsure = if durable { "" } else { " (not on disk)" };
            format!("{}:{}{unsure}", id.session, id.sequence)
        })
        .collect();
    let status = view.status().local;
    let last = status.last_refused.map_or(String::new(), |(id, why)| {
        format!(", the last {}:{}: {why}", id.session, id.sequence)
    });
    vec![format!(
        "{node} keeps [{}]; settled {}, refused {}{last}",
        kept.join(" "),
        status.settled,
        status.refused
    )]
}
