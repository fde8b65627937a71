package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/state"
)

const (
	crowd   = 20                      // containers on the machine whose agent is killed
	deadFor = 1500 * time.Millisecond // how long an agent stays dead: numbered lines gather meanwhile
)

// The machine whose agent or containerd is killed: not always the leader, never always a follower.
func crowded(r *rig) *herd.Node { return r.herd.Nodes[1] }

func agentDrills() []drill {
	return []drill{{
		name: "agent-kill", driver: herd.DriverContainerd, servers: 3, lane: 2, each: 3 * time.Second,
		counts: []string{countMoved, countDoubled, countOrphans, countLogLines}, prepare: crowdOne, run: killAgent,
	}, {
		name: "containerd-kill", driver: herd.DriverContainerd, servers: 3, lane: 2, each: 3 * time.Second,
		counts: []string{countMoved, countDoubled, countOrphans, countLogLines}, prepare: crowdOne, run: killContainerd,
	}}
}

func crowdOne(ctx context.Context, r *rig) error {
	return r.start(ctx, work{copies: crowd, node: crowded(r).Name, tick: "50ms"})
}

// killAgent kills the agent of a machine with many containers and starts it again. Measured is until the agent is well again.
func killAgent(ctx context.Context, r *rig, _ int) (time.Duration, error) {
	victim := crowded(r)
	before, err := r.look(ctx, r.herd.Nodes...)
	if err != nil {
		return 0, err
	}
	if err := victim.KillAgent(ctx); err != nil {
		return 0, err
	}
	pause(ctx, deadFor)
	if err := r.processesUndisturbed(before); err != nil {
		return 0, fmt.Errorf("while the agent was dead: %w", err)
	}
	start := time.Now()
	if err := victim.StartAgent(); err != nil {
		return 0, err
	}
	if _, err := waitfor.True(ctx, time.Minute, 20*time.Millisecond, wellAgain(victim)); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if _, err := r.herd.WaitReady(ctx, time.Minute); err != nil {
		return 0, err
	}
	return took, r.judgeCrowd(ctx, before)
}

// killContainerd kills the embedded daemon of a machine with many containers. Measured is until a new container runs there.
func killContainerd(ctx context.Context, r *rig, run int) (time.Duration, error) {
	victim := crowded(r)
	before, err := r.look(ctx, r.herd.Nodes...)
	if err != nil {
		return 0, err
	}
	daemon, err := daemonOf(victim)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := syscall.Kill(daemon.PID, syscall.SIGKILL); err != nil {
		return 0, err
	}
	if err := r.newContainer(ctx, victim, fmt.Sprintf("after-%d", run)); err != nil {
		return 0, fmt.Errorf("with containerd killed: %w", err)
	}
	took := time.Since(start)
	again, err := daemonOf(victim)
	if err != nil {
		return 0, err
	}
	if again.PID == daemon.PID && again.Start == daemon.Start {
		return 0, errors.New("containerd was not killed")
	}
	return took, r.judgeCrowd(ctx, before)
}

// daemonOf is the machine's containerd: our binary in the role of the daemon.
func daemonOf(n *herd.Node) (herd.Process, error) {
	for _, p := range n.Processes() {
		if len(p.Args) > 1 && p.Args[1] == "containerd" {
			return p, nil
		}
	}
	return herd.Process{}, fmt.Errorf("no containerd runs on %s", n.Name)
}

// newContainer runs one more container on the machine and stops it again.
func (r *rig) newContainer(ctx context.Context, on *herd.Node, id string) error {
	text, err := r.jobFile(id, work{copies: 1, node: on.Name})
	if err != nil {
		return err
	}
	if err := r.register(ctx, text); err != nil {
		return err
	}
	if _, err := waitfor.True(ctx, time.Minute, 20*time.Millisecond, func(ctx context.Context) error {
		allocs, err := allocations(ctx, on, id)
		if err == nil && len(live(allocs)) != 1 {
			err = fmt.Errorf("the new container of job %s does not run: %s", id, describe(allocs))
		}
		return err
	}); err != nil {
		return err
	}
	if _, err := on.API.StopJob(ctx, id, true, api.WriteOptions{}); err != nil {
		return err
	}
	_, err = waitfor.True(ctx, time.Minute, 20*time.Millisecond, func(ctx context.Context) error {
		allocs, err := allocations(ctx, on, id)
		if errors.Is(err, api.ErrNotFound) || err == nil && !slices.ContainsFunc(allocs, func(x api.AllocListItem) bool {
			return x.ClientStatus == state.ClientRunning || x.ClientStatus == state.ClientPending
		}) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("the new container of job %s does not end: %s", id, describe(allocs)))
	})
	return err
}

// describe is how allocations stand, for an error.
func describe(allocs []api.AllocListItem) string {
	var out []string
	for _, x := range allocs {
		s := fmt.Sprintf("%s on %s wanted %s, is %s", x.ID[:8], x.NodeName, x.DesiredStatus, x.ClientStatus)
		for _, t := range x.TaskStates {
			for _, e := range t.Events[max(0, len(t.Events)-3):] {
				s += fmt.Sprintf("; %s: %s", e.Type, e.Message)
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, " | ")
}

// wellAgain is a condition: the agent says that it is well in all its roles.
func wellAgain(n *herd.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		h, err := n.API.AgentHealth(ctx)
		if err == nil && (h.Client == nil || !h.Client.OK) {
			err = fmt.Errorf("the agent of %s is not well yet", n.Name)
		}
		return err
	}
}

// judgeCrowd compares with before, once everything stands as it should, and reads every log.
func (r *rig) judgeCrowd(ctx context.Context, before *picture) error {
	_, wholeErr := waitfor.True(ctx, 20*time.Second, 50*time.Millisecond, r.whole(r.herd.Nodes...))
	after, err := r.look(ctx, r.herd.Nodes...)
	if err != nil {
		return errors.Join(wholeErr, err)
	}
	r.undisturbed(before, after)
	r.tally.extra[countOrphans] += after.orphans
	r.tally.extra[countDoubled] += after.doubled
	for id := range before.live {
		lost, last, err := r.linesLost(ctx, id)
		if err != nil {
			return fmt.Errorf("read the log of %s: %w", id, err)
		}
		if last == 0 {
			return fmt.Errorf("the log of %s has no numbered line", id)
		}
		r.tally.extra[countLogLines] += lost
	}
	return wholeErr
}

// linesLost reads the numbered lines of a copy's log through an agent that does not run it, and counts the numbers that are missing
// or out of order up to the last one.
func (r *rig) linesLost(ctx context.Context, allocID string) (lost, last int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	body, err := r.herd.Nodes[0].API.Logs(ctx, api.LogsRequest{AllocID: allocID, Type: api.LogStdout, Origin: api.LogFromStart})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = body.Close() }() // read to its end
	in := bufio.NewReader(body)
	for {
		text, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return lost, last, nil // a last line without its end is still being written
		}
		if err != nil {
			return lost, last, err
		}
		number, ok := strings.CutPrefix(strings.TrimSpace(text), "line ")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return lost, last, fmt.Errorf("damaged line %q", text)
		}
		if n != last+1 {
			lost += max(1, n-last-1)
		}
		last = n
	}
}

// pause lets the fault last.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
