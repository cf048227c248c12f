//! A glance in words, one line each: the same on a terminal, on a page and in the
//! scripts.

use std::fmt;

use super::{Health, OwnStatus, PeerStatus, RecoveryStatus, Verdict, WorkerStatus};

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Health::Well => "well",
            Health::Strained => "strained",
            Health::Slow => "slow",
            Health::Stuck => "stuck",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Healthy => "healthy",
            Verdict::Slow => "slow",
            Verdict::Suspect => "suspect",
            Verdict::Down => "down",
        })
    }
}

impl fmt::Display for PeerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.node, self.verdict)?;
        if let Some(suspicion) = self.suspicion {
            write!(f, ", suspicion {suspicion}")?;
        }
        match self.heard_ms {
            Some(ms) => write!(f, ", heard {ms} ms ago")?,
            None => f.write_str(", never heard")?,
        }
        if let Some(health) = self.health {
            write!(f, ", {health} by its own word")?;
        }
        match self.connected {
            true => Ok(()),
            false => f.write_str(", not connected"),
        }
    }
}

impl fmt::Display for OwnStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OwnStatus {
            health,
            write_latency_us,
            write_waits_us,
            late_turns,
            late_turns_max,
            window_ms,
            backlogged,
        } = self;
        write!(f, "{health}, a write takes {write_latency_us} us")?;
        if *write_waits_us > 0 {
            write!(f, ", one waits for {write_waits_us} us")?;
        }
        write!(
            f,
            ", {late_turns} of {late_turns_max} late turns in {window_ms} ms"
        )?;
        match backlogged {
            true => f.write_str(", behind with applying"),
            false => Ok(()),
        }
    }
}

impl fmt::Display for WorkerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkerStatus {
            worker,
            slots,
            running,
            paused,
            health,
        } = self;
        write!(f, "{worker}")?;
        if let Some(health) = health {
            write!(f, " {}", health.verdict)?;
            if let Some(suspicion) = health.suspicion {
                write!(f, ", suspicion {suspicion}")?;
            }
            match health.heard_ms {
                Some(ms) => write!(f, ", asked {ms} ms ago")?,
                None => f.write_str(", not heard of late")?,
            }
        }
        write!(f, ", holds {running} of {slots}")?;
        match paused {
            true => f.write_str(", paused"),
            false => Ok(()),
        }
    }
}

impl fmt::Display for RecoveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leases taken back: {}", self.leases_reclaimed)?;
        if let Some(last) = &self.last_reclaimed {
            let (job, worker, t) = (last.job, last.worker, last.t);
            write!(f, " (the last: {job} from {worker} at {t:?})")?;
        }
        write!(f, "; promoted unasked: {}", self.promotions)?;
        if let Some((node, index)) = self.last_promoted {
            write!(f, " (the last: {node} at {index})")?;
        }
        Ok(())
    }
}
