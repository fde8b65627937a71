package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/drover-io/drover/api"
)

const portedJob = `job "ported" {
  group "g" {
    network {
      port "http" {}
    }
    task "t" {
      driver = "fake"
    }
  }
}`

// TestPortForward: what connects here reaches the port of a copy, both ways, until interrupted.
func TestPortForward(t *testing.T) {
	t.Parallel()
	h := newHerd(t).ready()
	h.must("job", "run", "--detach", h.file("ported.hcl", portedJob))
	h.waitCopies("ported", 1, "running")
	allocs, _, err := h.api.JobAllocations(t.Context(), "ported", api.QueryOptions{})
	if err != nil || len(allocs) != 1 || len(allocs[0].Ports) != 1 {
		t.Fatalf("allocations %+v, %v", allocs, err)
	}
	p := allocs[0].Ports[0]
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", p.HostIP, p.HostPort)) // in the stead of the fake task
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n') // the answer shows what came
			_, _ = fmt.Fprintf(conn, "heard %s", line)
			_ = conn.Close()
		}
	})
	for _, name := range [][]string{{"alloc", "port-forward"}, {"port-forward"}} {
		ctx, cancel := context.WithCancel(t.Context())
		var out, errOut lockedBuffer
		code := make(chan int, 1)
		wg.Go(func() {
			code <- h.app(strings.NewReader(""), &out, &errOut).run(ctx, append(name, "ported", "0:http"))
		})
		h.waitFor(&out, "Forwarding ")
		at := regexp.MustCompile(`Forwarding (\S+) to port "http"`).FindStringSubmatch(out.String())
		if at == nil {
			t.Fatalf("it says %q", out.String())
		}
		conn, err := net.Dial("tcp", at[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello\n")); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "heard hello\n" {
			t.Errorf("answer %q, %v; the command said %q", line, err, errOut.String())
		}
		_ = conn.Close()
		cancel()
		if c := <-code; c != 0 && c != exitInterrupted {
			t.Errorf("exit %d: %s", c, errOut.String())
		}
	}
}
