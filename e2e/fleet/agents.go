package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
)

// agentsArg makes the program the process of the simulated agents.
const agentsArg = "simulated-agents"

// order is what the process of the agents is started with, one line on its standard input.
type order struct {
	Plan    Plan
	Servers []string // peer addresses
}

// Counts is what the agents have seen and done since they were started.
type Counts struct {
	Registered  int64 // agents that are registered
	Held        int64 // allocations on all machines
	Running     int64 // allocations reported as running, each once, and acknowledged: in the log
	Ended       int64 // the same of those that ended
	Polls       int64 // sent
	Rows        int64 // allocations that answers to polls carried with their rows
	Reports     int64 // acknowledged
	Failures    int64 // requests that no server answered well
	Failure     string
	Latencies   []int64 `json:",omitempty"` // nanoseconds from submission to the agent, since asked last; ascending
	AtLeader    []int64 `json:",omitempty"` // those of them of agents that wait at the leader
	Collections uint32  // of the process's heap; with Latencies only
	Late        []int64 `json:",omitempty"` // when those came that took longer than Late: nanoseconds since the Unix epoch, ascending
}

// Late is from when on it is noted when a copy came.
const Late = 40 * time.Millisecond

// counts is Counts while agents work.
type counts struct {
	registered, held, running, ended, polls, rows, reports, failures atomic.Int64

	mu        sync.Mutex
	failure   string
	latencies []int64
	atLeader  []int64
	late      []int64
}

func (c *counts) latency(d int64, atLeader bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latencies = append(c.latencies, d)
	if d > int64(Late) {
		c.late = append(c.late, time.Now().UnixNano())
	}
	if atLeader {
		c.atLeader = append(c.atLeader, d)
	}
}

// note counts a failed request; the end of the process is none.
func (c *counts) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	c.failures.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err.Error()
}

// take reads the counts, and the latencies with them when asked for.
func (c *counts) take(latencies bool) Counts {
	out := Counts{
		Registered: c.registered.Load(), Held: c.held.Load(), Running: c.running.Load(), Ended: c.ended.Load(),
		Polls: c.polls.Load(), Rows: c.rows.Load(), Reports: c.reports.Load(), Failures: c.failures.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Failure = c.failure
	if latencies {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		out.Collections = m.NumGC
		out.Latencies, out.AtLeader, out.Late, c.latencies, c.atLeader, c.late = c.latencies, c.atLeader, c.late, nil, nil, nil
		slices.Sort(out.Latencies)
		slices.Sort(out.AtLeader)
	}
	return out
}

// Main is called first by every program that uses the package. In the process of the agents it does not return.
func Main() {
	if len(os.Args) != 2 || os.Args[1] != agentsArg {
		return
	}
	if err := simulate(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulated agents:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roomPercent is what the heap of all agents may grow by before it is collected. Real agents collect a few megabytes each, at moments of their
// own; this process has a million allocations in one heap, and while it collects it nobody else gets on, for half a second. So it is collected
// each time before latencies are measured, too.
const roomPercent = 300

// Questions that the process of the agents answers with one line of Counts each.
const (
	askCounts    = "counts"
	askLatencies = "latencies"
	askFail      = "fail "    // and a number: so many allocations fail now, spread over the agents
	askProfile   = "profile " // and a file: what the processor does from now on goes there; the one before it, if any, ends
)

// simulate runs the agents until its input ends.
func simulate(in io.Reader, out io.Writer) (err error) {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return fmt.Errorf("no order came: %w", io.ErrUnexpectedEOF)
	}
	var o order
	if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if err := RaiseFileLimit(uint64(3*o.Plan.Nodes) + 64); err != nil {
		return err
	}
	debug.SetGCPercent(roomPercent)
	wires := newLines()
	base, err := api.New(api.Config{Addr: "http://peer.invalid", Retries: -1, Crowd: true, HTTPClient: &http.Client{Transport: wires}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	count, all := &counts{}, crowd{}
	for i := range o.Plan.Nodes {
		s, err := newSimulated(o, i, base, count)
		if err != nil {
			return err
		}
		all.agents = append(all.agents, s)
		g.Go(func() error {
			// Spread over the first lease period, or their polls would come in bursts for ever.
			if err := Pause(ctx, time.Duration(i)*time.Millisecond); err != nil {
				return err
			}
			return s.run(ctx)
		})
	}
	var profile cpuProfile
	defer func() { err = errors.Join(err, profile.into("")) }()
	enc := json.NewEncoder(out)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), askFail); ok {
			all.fail(n)
		}
		if file, ok := strings.CutPrefix(lines.Text(), askProfile); ok {
			if err := profile.into(file); err != nil {
				return err
			}
		}
		if lines.Text() == askLatencies {
			runtime.GC()
		}
		if err := enc.Encode(count.take(lines.Text() == askLatencies)); err != nil {
			return err
		}
	}
	cancel()
	wires.Close()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// crowd is all agents, and which of them has its turn.
type crowd struct {
	agents []*simulated
	next   int
}

// fail ends so many allocations, one of each agent in turn, as far as there are any.
func (c *crowd) fail(number string) {
	n, err := strconv.Atoi(number)
	if err != nil {
		return // whoever asked finds that nothing ended
	}
	for idle := 0; n > 0 && idle < len(c.agents); {
		done := c.agents[c.next%len(c.agents)].fail(1)
		c.next++
		n -= done
		if idle++; done > 0 {
			idle = 0
		}
	}
}

// newSimulated is the i-th agent. Agents are spread over the servers.
func newSimulated(o order, i int, base *api.Client, count *counts) (*simulated, error) {
	s := &simulated{
		node: o.Plan.Node(i), count: count, over: map[string]bool{}, reports: make(chan struct{}, 1), peerAddr: map[string]int{}, first: true,
	}
	for k := range o.Servers {
		addr := o.Servers[(i+k)%len(o.Servers)]
		peer, err := base.At("http://" + addr)
		if err != nil {
			return nil, err
		}
		s.servers = append(s.servers, peer.As(s.node.ID))
		s.peerAddr[addr] = k
	}
	return s, nil
}
