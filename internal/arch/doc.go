// Package arch holds the tests of the project's shape: the arrows between rooms (ARCHITECTURE.md §2), the limits of the house
// style (file, function, complexity, documented names, no init, no mutable package variables, no clock in pure rooms, no
// sleeping test) and the list of what may stand at the root. It has no code of its own.
package arch
