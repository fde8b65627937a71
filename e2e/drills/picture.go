package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
)

// picture is how the copies of the job stand at one moment, by the word of the cluster and on the machines.
type picture struct {
	live      map[string]api.AllocListItem // wanted and running
	known     map[string]bool              // every allocation of the job
	restarts  int                          // of all tasks
	processes map[string]string            // process, named for ever → its allocation

	orphans int // processes of no live allocation of their machine
	doubled int // live allocations of a slot, or processes of an allocation, beyond the first
	missing int // live allocations without a process
}

// look takes a picture. The first node that answers is asked; every machine that is on is looked at.
func (r *rig) look(ctx context.Context, nodes ...*herd.Node) (*picture, error) {
	errs := []error{errors.New("no agent answers")}
	for _, n := range nodes {
		if n.InitPID() == 0 || !n.AgentAlive() {
			continue
		}
		allocs, err := allocations(ctx, n, jobID)
		if err == nil {
			return r.compose(allocs), nil
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", n.Name, err))
	}
	return nil, errors.Join(errs...)
}

func (r *rig) compose(allocs []api.AllocListItem) *picture {
	p := &picture{live: map[string]api.AllocListItem{}, known: map[string]bool{}, processes: map[string]string{}}
	slots := map[string]int{}
	for _, x := range allocs {
		p.known[x.ID] = true
		for _, t := range x.TaskStates {
			p.restarts += t.Restarts
		}
	}
	for _, x := range live(allocs) {
		p.live[x.ID] = x
		if slots[x.Name]++; slots[x.Name] > 1 {
			p.doubled++
		}
	}
	running := map[string]int{}
	for _, n := range r.herd.Nodes {
		for _, q := range hellos(n) {
			id := allocOf(q.PID)
			p.processes[fmt.Sprintf("%d started at tick %d on %s", q.PID, q.Start, n.Name)] = id
			if x, ok := p.live[id]; !ok || x.NodeName != n.Name {
				p.orphans++
				continue
			}
			if running[id]++; running[id] > 1 {
				p.doubled++
			}
		}
	}
	for id := range p.live {
		if running[id] == 0 {
			p.missing++
		}
	}
	return p
}

// hellos are the copies that run on a machine.
func hellos(n *herd.Node) []herd.Process { return herd.Named(n.Processes(), "hello") }

// allocOf is the allocation that a process says it is, "" when it is on its way out.
func allocOf(pid int) string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	for kv := range strings.SplitSeq(string(environ), "\x00") {
		if id, ok := strings.CutPrefix(kv, "DROVER_ALLOC_ID="); ok {
			return id
		}
	}
	return ""
}

// undisturbed counts what changed between two pictures although nothing had to: copies that were placed anew, and processes that
// did not live on.
func (r *rig) undisturbed(before, after *picture) {
	for id := range after.known {
		if !before.known[id] {
			r.tally.extra[countMoved]++
		}
	}
	ended := 0
	for name, alloc := range before.processes {
		if after.processes[name] != alloc {
			ended++
		}
	}
	r.tally.restarted += max(ended, after.restarts-before.restarts)
}

// processesUndisturbed is the same for a moment at which no agent can be asked.
func (r *rig) processesUndisturbed(before *picture) error {
	after := r.compose(nil)
	for name, alloc := range before.processes {
		if after.processes[name] != alloc {
			return fmt.Errorf("process %s of copy %s did not live on", name, alloc)
		}
	}
	if n := len(after.processes) - len(before.processes); n > 0 {
		return fmt.Errorf("%d processes more than before", n)
	}
	return nil
}
