// Command benchapi measures the API of three servers that are processes of the real binary, with their logs on a real disk: jobs
// registered a second beside the puts of three members of etcd on the same disk, reads of one job a second, changes that reach ten
// thousand watchers, and how soon a server with a million allocations answers again after a kill -9.
//
// Every rate has its twin that says whether it is right: each acknowledged job is there once and the three servers hold the same, each
// watcher saw its change at the index of that change, the server that came back holds what it held.
//
// It prints a line MACHINE {…}, then one line BENCH {"bench":"api","figure":…} per figure with its bound and whether it holds, and ends
// with an error that names those that do not. The servers, etcd and the clients share the machine; the clients are lean (wire.go), because
// what they use the servers do not have.
package main
