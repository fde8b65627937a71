package agenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
)

// TestExecFromAnyAgent: a command inside a task of one machine, asked for at the leader, at a follower and at a client-only agent: its
// input, its exit code and the size of its terminal arrive, and it ends when the agent that was asked is cut off from the machine.
func TestExecFromAnyAgent(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		leader := c.Leader()
		job := Job("web", 1)
		if err := c.Run(leader, job); err != nil {
			t.Fatal(err)
		}
		alloc := c.WaitRunning(leader, "web", 1, time.Minute)[0]
		var owner, other *Node
		for _, n := range c.Nodes {
			switch {
			case n.ID() == alloc.NodeID:
				owner = n
			case !n.server:
				other = n
			}
		}
		for name, via := range map[string]*Node{"leader": leader, "follower": c.Follower(), "client-only": other} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			var out bytes.Buffer
			run := func(x api.ExecIO, words ...string) (int, error) {
				out.Reset()
				x.Stdout = &out
				return via.API.Exec(ctx, api.ExecRequest{AllocID: alloc.ID, Command: words, TTY: x.Resize != nil}, x)
			}
			if code, err := run(api.ExecIO{Stdin: strings.NewReader("moo\x00\xff")}, "cat"); code != 0 || err != nil || out.String() != "moo\x00\xff" {
				t.Errorf("cat at the %s: exit code %d, %v, %q", name, code, err, out.String())
			}
			if code, err := run(api.ExecIO{}, "exit", "42"); code != 42 || err != nil {
				t.Errorf("exit 42 at the %s: exit code %d, %v", name, code, err)
			}
			if code, err := run(api.ExecIO{}, "none"); code != 127 || err == nil {
				t.Errorf("an unknown command at the %s: exit code %d, %v", name, code, err)
			}
			resize := make(chan api.TTYSize, 1)
			resize <- api.TTYSize{Height: 24, Width: 80}
			typed := &slowly{after: 2 * time.Second}
			if code, err := run(api.ExecIO{Stdin: typed, Resize: resize}, "size"); code != 0 || err != nil || out.String() != "24 rows, 80 columns\n" {
				t.Errorf("size at the %s: exit code %d, %v, %q", name, code, err, out.String())
			}
			cancel()
		}
		ctx, hangUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := other.API.Exec(ctx, api.ExecRequest{AllocID: alloc.ID, Command: []string{"sleep", "10h"}}, api.ExecIO{}); err == nil {
				t.Error("a command whose connection was cut ended well")
			}
		})
		running := func(want int) func() error {
			return func() error {
				if got := owner.Machine.Commands(); got != want {
					return fmt.Errorf("%d commands run, want %d", got, want)
				}
				return nil
			}
		}
		c.Eventually(10*time.Second, running(1))
		c.Always(3*time.Minute, running(1)) // heartbeats keep it
		c.Split([]*Node{other}, []*Node{owner})
		c.Eventually(4*time.Minute, running(0))
		hangUp()
		wg.Wait()
	})
}

// slowly is input that ends after a while.
type slowly struct{ after time.Duration }

func (s *slowly) Read([]byte) (int, error) {
	time.Sleep(s.after)
	return 0, errors.New("that was all")
}
