//! The cache of a stock auth process, emptied for a mailbox.
