//! The names of signals.

/// The name of the signal that ended a process, by its exit code: 128 and the number of the signal, as shells and Kubernetes count.
pub fn signal_name(exit_code: i32) -> Option<&'static str> {
    // The numbers of Linux on all usual machines.
    Some(match exit_code.checked_sub(128)? {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_above_128_names_a_signal() {
        for (exit_code, name) in [
            (137, Some("SIGKILL")),
            (143, Some("SIGTERM")),
            (139, Some("SIGSEGV")),
            (128, None),
            (3, None),
            (255, None),
            (i32::MIN, None),
        ] {
            assert_eq!(signal_name(exit_code), name, "{exit_code}");
        }
    }
}
