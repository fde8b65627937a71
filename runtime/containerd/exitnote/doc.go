// Package exitnote is how our own shim tells the driver that a container ended while the daemon was away: containerd 2.x forgets
// such an exit. One small file per container, in a directory that a reboot empties. The shim writes, the driver reads and removes.
package exitnote
