package main

import (
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// notifier tells a service manager how the agent stands, by the protocol of sd_notify(3): one datagram to the socket that
// NOTIFY_SOCKET names. Without one it tells nobody.
type notifier struct {
	socket string
	log    hclog.Logger
}

func newNotifier(getenv func(string) string, log hclog.Logger) *notifier {
	return &notifier{socket: getenv("NOTIFY_SOCKET"), log: log}
}

// ready says that the API serves, or that the configuration has been read anew.
func (n *notifier) ready() { n.tell("READY=1\nSTATUS=serving") }

// reloading says that the configuration is being read anew; ready follows, whether it was taken or not.
func (n *notifier) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return // never on Linux
	}
	n.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// stopping says that the agent ends; what it runs runs on.
func (n *notifier) stopping() { n.tell("STOPPING=1\nSTATUS=stopping; tasks run on") }

func (n *notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // what was written is gone
	}
	if err != nil {
		n.log.Warn("cannot tell the service manager", "socket", n.socket, "error", err)
	}
}
