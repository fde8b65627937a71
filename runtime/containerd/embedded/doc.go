// Package embedded is the containerd daemon and its shim inside our own binary, so that a bare machine needs only runc.
//
// The binary re-executes itself: as "drover containerd …" it is the daemon, and under the name containerd-shim-runc-v2 it is the
// shim that holds the containers of one alloc. Both are processes of their own that outlive the agent. The package owns the list
// of containerd's plugins; no Kubernetes interface, no tracing, no device mapper. Whoever imports it links all of containerd's
// server, so only cmd/drover and tests do. Main must be the first thing that main calls.
package embedded
