// Command demo shows the main job of Drover end to end, unattended: a herd of machines forms, a job runs, an agent is killed and
// comes back to its containers, a machine dies and its work runs elsewhere. Every step prints what happened and how long it
// took; the exit code is 0 only when each did what it says.
//
// The machines are namespaces of this one (package herd). As root with containerd they run containers; with DRIVER=exec, or not
// as root, plain processes. Where the kernel gives no namespaces at all the agents share this machine's loopback interface and
// the death of a machine is declared with `drover node lost`.
package main
