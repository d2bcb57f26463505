//! The command `doveadm`, with a time-out.
