// Package nearest finds the known name that an unknown one is most likely a slip of, for messages that say "did you mean". It is a
// leaf that every room may import.
package nearest
