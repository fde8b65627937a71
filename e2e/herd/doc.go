// Package herd makes machines on one machine for the demo, the drills and the end-to-end tests: each is a small init process in
// namespaces of its own (network, mounts, processes; users too when not root) on one bridge, with its own /proc, /run, kernel
// boot ID and disk directory. Ending the init ends everything on the machine at once, as pulling the plug does; starting it
// again on the same directory is a reboot.
//
// A program that uses it calls Main first: the package re-executes the program inside the bridge's own namespace, and as each
// machine's init. Nothing it makes outlives the program, also when that is killed, unless Keep was called.
package herd
