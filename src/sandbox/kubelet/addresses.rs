//! Addresses of pods: one each, of this machine, that no other live pod has.
//!
//! Linux takes every address in 127.0.0.0/8 for its own without being told, so a pod can bind to its address and others can
//! connect to it. The beginning of that range is in use: resolvers listen on 127.0.0.53 (systemd) and 127.0.0.11 (Docker), and
//! Debian gives the machine's own name 127.0.1.1. Pods get theirs from 127.64.0.0/10, far from that, and each sandbox begins
//! somewhere else in it, so that two sandboxes on one machine do not take each other's ports.

use std::{collections::HashSet, net::Ipv4Addr};

/// The bits that all addresses have in common.
const NETWORK: u32 = Ipv4Addr::new(127, 64, 0, 0).to_bits();

/// How many addresses the network has.
const SIZE: u32 = 1 << 22;

/// Which addresses are taken.
pub struct Addresses {
    next: u32,
    taken: HashSet<Ipv4Addr>,
}

impl Addresses {
    /// Begins with the address of this number.
    pub fn new(first: u32) -> Self {
        Self {
            next: first,
            taken: HashSet::new(),
        }
    }

    /// Takes an address that is free.
    pub fn take(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from_bits(NETWORK | (self.next % SIZE));
            self.next = self.next.wrapping_add(1);
            // Some programs take an address that ends in 0 for a network, and in 255 for a broadcast.
            let is_plain = !matches!(address.octets()[3], 0 | 255);
            if is_plain && self.taken.insert(address) {
                return address;
            }
        }
    }

    pub fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_pods_have_different_addresses() {
        let mut addresses = Addresses::new(SIZE - 2);
        let first = addresses.take();
        assert_eq!(first, Ipv4Addr::new(127, 127, 255, 254));
        // Around the end, and not those that look like a whole network.
        assert_eq!(addresses.take(), Ipv4Addr::new(127, 64, 0, 1));
        addresses.next = SIZE - 2;
        assert_eq!(addresses.take(), Ipv4Addr::new(127, 64, 0, 2));
        addresses.release(first);
        addresses.next = SIZE - 2;
        assert_eq!(addresses.take(), first);
    }
}
