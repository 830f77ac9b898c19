//! IP addresses of pods: each running pod has its own loopback address.
//!
//! On Linux all addresses in 127.0.0.0/8 are local, so a pod can bind to its address and others can connect to it. Pods get
//! addresses from 127.64.0.0/10, since others use the beginning of the range: resolvers listen on 127.0.0.53 (systemd) and
//! 127.0.0.11 (Docker), and Debian gives the machine's own name 127.0.1.1. Each sandbox begins at a random address, so that two
//! sandboxes on one machine do not take each other's ports.

use std::{collections::HashSet, net::Ipv4Addr};

/// The bits that all addresses have in common.
const NETWORK: u32 = Ipv4Addr::new(127, 64, 0, 0).to_bits();

/// The number of addresses in the network.
const SIZE: u32 = 1 << 22;

/// The addresses in use.
pub struct Addresses {
    next: u32,
    taken: HashSet<Ipv4Addr>,
}

impl Addresses {
    /// Starts with the address of this number.
    pub fn new(first: u32) -> Self {
        Self {
            next: first,
            taken: HashSet::new(),
        }
    }

    /// Takes a free address.
    pub fn take(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from_bits(NETWORK | (self.next % SIZE));
            self.next = self.next.wrapping_add(1);
            // Some programs take an address that ends in 0 for a network, and one that ends in 255 for a broadcast address.
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
        // After the last address come the first ones, but not 127.64.0.0.
        assert_eq!(addresses.take(), Ipv4Addr::new(127, 64, 0, 1));
        addresses.next = SIZE - 2;
        assert_eq!(addresses.take(), Ipv4Addr::new(127, 64, 0, 2));
        addresses.release(first);
        addresses.next = SIZE - 2;
        assert_eq!(addresses.take(), first);
    }
}
