package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/internal/waitfor"
)

// Agents is the process of the simulated agents, seen from the program that started it.
type Agents struct {
	plan Plan
	cmd  *exec.Cmd

	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// StartAgents starts the simulated agents of a cluster and waits until all of them are registered.
func StartAgents(ctx context.Context, servers Servers, plan Plan, limit time.Duration) (*Agents, error) {
	a := &Agents{plan: plan, cmd: exec.Command("/proc/self/exe", agentsArg)}
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := a.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.in, a.out = in, bufio.NewReaderSize(out, 1<<20)
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	o := order{Plan: plan}
	for _, s := range servers {
		o.Servers = append(o.Servers, s.Peer)
	}
	line, err := json.Marshal(o)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if _, err := in.Write(append(line, '\n')); err != nil {
		return nil, errors.Join(fmt.Errorf("tell the agents what to do: %w", err), a.Close())
	}
	if _, err := waitfor.True(ctx, limit, 100*time.Millisecond, func(context.Context) error {
		c, err := a.Counts()
		if err == nil && c.Registered < int64(plan.Nodes) {
			err = fmt.Errorf("%d of %d agents are registered; what failed last: %s", c.Registered, plan.Nodes, c.Failure)
		}
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("register the agents: %w", err), a.Close())
	}
	return a, nil
}

// Counts is what the agents have seen and done.
func (a *Agents) Counts() (Counts, error) { return a.ask(askCounts) }

// Latencies is Counts with the latencies since the last call.
func (a *Agents) Latencies() (Counts, error) { return a.ask(askLatencies) }

// Fail has so many allocations fail, spread over the agents.
func (a *Agents) Fail(n int) (Counts, error) { return a.ask(askFail + strconv.Itoa(n)) }

// Profile writes what the processor does in their process from now on to a file, until the next call; "" only ends the one before.
func (a *Agents) Profile(file string) error {
	_, err := a.ask(askProfile + file)
	return err
}

func (a *Agents) ask(question string) (c Counts, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := io.WriteString(a.in, question+"\n"); err != nil {
		return c, fmt.Errorf("ask the agents: %w", err)
	}
	line, err := a.out.ReadBytes('\n')
	if err != nil {
		return c, fmt.Errorf("ask the agents: %w", err)
	}
	return c, json.Unmarshal(line, &c)
}

// Usage is what the process has used.
func (a *Agents) Usage() (gauge.Usage, error) { return gauge.ReadUsage(a.cmd.Process.Pid) }

// Close ends the process.
func (a *Agents) Close() error {
	a.mu.Lock()
	_ = a.in.Close() // it ends with its input
	a.mu.Unlock()
	timer := time.AfterFunc(10*time.Second, func() { _ = a.cmd.Process.Kill() }) // it is waited for below
	defer timer.Stop()
	if err := a.cmd.Wait(); err != nil {
		return fmt.Errorf("end the agents: %w", err)
	}
	return nil
}
