//! Slows guessing: who fails waits before the next attempt, longer each time.
//!
//! The key is an address and a user, so that nobody locks out a user from elsewhere. The wait comes before a password is looked at, for right
//! ones too: an attempt that is dropped to begin another gains nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After the first failure; doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Without another failure, the ones before are forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// About 2 MB. When it is full, who failed longest ago is forgotten first.
const MOST_ENTRIES: usize = 10_000;
/// Longer names are cut, so that nobody fills memory with them; two that begin alike then wait for each other.
const LONGEST_NAME: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    next_attempt: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<(IpAddr, String), Failures>>,
}

impl Throttle {
    /// How long this attempt has to wait; then it asks again, because others may have failed meanwhile.
    pub(super) fn wait(&self, address: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failures.get(&key(address, user))?;
        let wait = before.next_attempt.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// Gives the failures so far, this one too.
    pub(super) fn failed(&self, address: IpAddr, user: &str, now: Instant) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(address, user);
        if failures.len() >= MOST_ENTRIES && !failures.contains_key(&key) {
            make_room(&mut failures, now);
        }
        let entry = failures.entry(key).or_insert(Failures {
            count: 0,
            last: now,
            next_attempt: now,
        });
        if now.saturating_duration_since(entry.last) > MEMORY {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        let doublings = (entry.count - 1).min(16);
        entry.next_attempt = now + (FIRST_DELAY * 2u32.pow(doublings)).min(LONGEST_DELAY);
        entry.count
    }

    pub(super) fn succeeded(&self, address: IpAddr, user: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&key(address, user));
    }
}

fn make_room(failures: &mut HashMap<(IpAddr, String), Failures>, now: Instant) {
    failures.retain(|_, entry| now.saturating_duration_since(entry.last) <= MEMORY);
    if failures.len() < MOST_ENTRIES {
        return;
    }
    // A tenth at once, so that a flood does not sort the whole list at each attempt.
    let mut times: Vec<Instant> = failures.values().map(|entry| entry.last).collect();
    let (_, cut, _) = times.select_nth_unstable(MOST_ENTRIES / 10);
    let cut = *cut;
    failures.retain(|_, entry| entry.last > cut);
}

fn key(address: IpAddr, user: &str) -> (IpAddr, String) {
    let address = match address.to_canonical() {
        // Whoever has one address of IPv6 has the other 2^64 of its network too.
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    };
    (address, user.chars().take(LONGEST_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_bound_and_a_success_ends_it() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.wait(HERE, "a", now), None);
        let mut waits = Vec::new();
        for _ in 0..8 {
            throttle.failed(HERE, "a", now);
            waits.push(throttle.wait(HERE, "a", now).unwrap().as_millis());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        for _ in 0..100 {
            throttle.failed(HERE, "a", now);
        }
        assert_eq!(throttle.wait(HERE, "a", now), Some(LONGEST_DELAY));
        assert_eq!(throttle.wait(HERE, "a", now + LONGEST_DELAY), None);
        throttle.succeeded(HERE, "a");
        assert_eq!(throttle.wait(HERE, "a", now), None);
    }

    #[test]
    fn others_do_not_wait() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.failed(HERE, "a", now);
        assert_eq!(throttle.wait(HERE, "b", now), None);
        assert_eq!(throttle.wait("10.0.0.1".parse().unwrap(), "a", now), None);
        // One network of IPv6 is one client.
        throttle.failed("2001:db8::1".parse().unwrap(), "a", now);
        assert!(throttle.wait("2001:db8::2".parse().unwrap(), "a", now).is_some());
        assert!(throttle.wait("2001:db8:0:1::1".parse().unwrap(), "a", now).is_none());
        assert!(throttle.wait("::ffff:127.0.0.1".parse().unwrap(), "a", now).is_some());
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.failed(HERE, "a", now);
        assert_eq!(throttle.failed(HERE, "a", now + MEMORY), 2);
        assert_eq!(
            throttle.failed(HERE, "a", now + MEMORY + MEMORY + Duration::from_secs(1)),
            1
        );
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let name = "x".repeat(10_000);
        for n in 0..MOST_ENTRIES as u32 + 2000 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
            throttle.failed(address, &name, start + Duration::from_millis(n.into()));
        }
        let failures = throttle.failures.lock().unwrap();
        assert!(failures.len() <= MOST_ENTRIES && failures.len() > MOST_ENTRIES / 2);
        assert!(failures.keys().all(|(_, name)| name.len() <= LONGEST_NAME));
        let last = IpAddr::V4(std::net::Ipv4Addr::from_bits(MOST_ENTRIES as u32 + 1999));
        assert!(failures.contains_key(&key(last, &name)));
    }
}
