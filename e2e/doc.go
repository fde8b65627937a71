// Package e2e holds the end-to-end tests: real agents from the real binary, real containers, and machines made of namespaces (see
// package herd) that are killed, rebooted and filled up. Each test is a story on one herd, told in subtests that build on each
// other. They need the right to make namespaces, and those with containers need root; what cannot run is skipped by name.
//
// DROVER_BIN and HELLO_BIN name the binaries; when they are not set both are built for the run.
package e2e
