//! Dovecot's anvil: which sessions there are, and the end of some.
