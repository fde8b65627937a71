package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// troubleLimit is how long a follower bears with a cluster that does not answer: an election, or an agent that is started again.
	troubleLimit = 30 * time.Second
	// troublePause is the time between attempts meanwhile.
	troublePause = 300 * time.Millisecond
	// manyCopies is from how many copies on only what goes wrong gets a line of its own.
	manyCopies = 20
)

// errPatience ends following: the deadline has passed.
var errPatience = errors.New("the time to wait is over")

// follower looks at a job again and again, and prints what changed.
type follower struct {
	app       *app
	c         *api.Client
	namespace string
	id        string
	since     uint64 // index of the write whose effects are followed: what is older was there before
	started   time.Time
	deadline  time.Time // zero for never

	job     *state.Job // of the last look, with allocs, at index seen
	allocs  []api.AllocListItem
	seen    uint64
	many    bool
	known   map[string]string          // allocation → how it stood
	told    map[string]state.TaskEvent // allocation and task → the newest event looked at
	running map[string]time.Time       // allocation and its restarts → since when it has been seen running
	trouble time.Time                  // since when the cluster has not answered
	line    string                     // the progress shown last
	shown   time.Time
}

func newFollower(a *app, c *api.Client, namespace, id string) *follower {
	return &follower{app: a, c: c, namespace: namespace, id: id, started: time.Now(),
		known: map[string]string{}, told: map[string]state.TaskEvent{}, running: map[string]time.Time{}}
}

func (f *follower) took() float64 { return time.Since(f.started).Seconds() }

// look waits until something of the job has changed since the last look, for at most wait when that is not 0, and returns its
// allocations. Trouble that may pass is waited out.
func (f *follower) look(ctx context.Context, wait time.Duration) ([]api.AllocListItem, error) {
	for {
		limit := time.Hour
		if wait > 0 {
			limit = wait
		}
		if !f.deadline.IsZero() {
			if limit = min(limit, time.Until(f.deadline)); limit <= 0 {
				return nil, errPatience
			}
		}
		once, cancel := context.WithTimeout(ctx, limit)
		err := f.read(once)
		over := once.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			f.calm()
			return f.allocs, nil
		case over && f.job == nil:
			continue // nothing was read yet
		case over:
			return f.allocs, nil // nothing has changed
		case isNotFound(err), errors.Is(err, api.ErrForbidden), errors.Is(err, api.ErrInvalid):
			return nil, err
		}
		if err := f.bear(ctx, err); err != nil {
			return nil, err
		}
	}
}

// read reads the allocations of the job, then its row: what the row says of copies that are not placed is never older.
func (f *follower) read(ctx context.Context) error {
	q := api.QueryOptions{Namespace: f.namespace, Index: f.seen, Wait: api.MinWait}
	var allocs []api.AllocListItem
	var first uint64 // a change that comes between two pages must wake the next look
	for {
		page, meta, err := f.c.JobAllocations(ctx, f.id, q)
		if err != nil {
			return err
		}
		if allocs = append(allocs, page...); first == 0 {
			first = meta.Index
		}
		if meta.NextToken == "" {
			break
		}
		q.NextToken, q.Index = meta.NextToken, 0
	}
	job, _, err := f.c.Job(ctx, f.id, api.QueryOptions{Namespace: f.namespace})
	if err != nil {
		return err
	}
	f.job, f.allocs, f.seen = job.Job, allocs, first
	return nil
}

// bear waits a moment after the cluster did not answer, and gives up when that has gone on for too long. The next look reads
// everything anew: another server may be behind what was seen.
func (f *follower) bear(ctx context.Context, err error) error {
	f.seen = 0
	if f.trouble.IsZero() {
		f.trouble = time.Now()
		_ = f.say("  %5.1fs  %s; trying again\n", f.took(), brief(err))
	}
	if time.Since(f.trouble) > troubleLimit {
		return err
	}
	t := time.NewTimer(troublePause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *follower) calm() {
	if !f.trouble.IsZero() {
		f.trouble = time.Time{}
		_ = f.say("  %5.1fs  the cluster answers again\n", f.took())
	}
}

// brief is an error without advice.
func brief(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// leave ends following before its goal: the user interrupted it, the time is over, or the cluster cannot be asked.
func (f *follower) leave(ctx context.Context, err error, meanwhile string) error {
	next := fmt.Sprintf("%s Look with: drover job status %s", meanwhile, f.id)
	switch {
	case ctx.Err() != nil:
		return f.say("Detached. %s\n", next)
	case errors.Is(err, errPatience):
		return errors.Join(f.say("The time to wait is over after %.1f s%s. %s\n", f.took(), f.last(), next), exitCode(exitError))
	}
	f.clear()
	return err
}

// last is the progress shown last, in parentheses.
func (f *follower) last() string {
	if f.line == "" {
		return ""
	}
	return " (" + f.line + ")"
}

// printCopies says what changed about copies since the last look. What was there before the write is only noted at first.
func (f *follower) printCopies(allocs []api.AllocListItem) {
	allocs = slices.Clone(allocs)
	slices.SortStableFunc(allocs, func(a, b api.AllocListItem) int {
		if a.CreateIndex != b.CreateIndex {
			return int(a.CreateIndex) - int(b.CreateIndex)
		}
		return a.Index - b.Index
	})
	for _, x := range allocs {
		status := x.DesiredStatus + " " + x.ClientStatus
		old, known := f.known[x.ID]
		f.known[x.ID] = status
		leaving := x.DesiredStatus != state.DesiredRun && heeds(x)
		silent := !known && x.CreateIndex < f.since && !leaving
		f.printEvents(x, silent)
		bad := x.ClientStatus == state.ClientFailed || x.ClientStatus == state.ClientLost || x.ClientStatus == state.ClientUnknown
		again := known && x.DesiredStatus == state.DesiredRun && x.ClientStatus == state.ClientPending // the event of its task said so
		if old == status || silent || again || f.many && !bad {
			continue
		}
		f.copyLine(x, copyWords(x))
	}
}

func (f *follower) copyLine(x api.AllocListItem, text string) {
	_ = f.say("  %5.1fs  %s  %s  %s\n", f.took(), shortID(x.ID, false), x.Name, text)
}

// copyWords say how a copy stands.
func copyWords(x api.AllocListItem) string {
	if x.DesiredStatus != state.DesiredRun {
		switch {
		case ended(x):
			return "stopped on " + x.NodeName
		case x.DesiredDescription != "":
			return "stopping on " + x.NodeName + ": " + x.DesiredDescription
		}
		return "stopping on " + x.NodeName
	}
	switch x.ClientStatus {
	case state.ClientPending:
		return "placed on " + x.NodeName
	case state.ClientLost:
		return "lost with " + x.NodeName
	case state.ClientUnknown:
		return "unknown: " + x.NodeName + " is silent"
	}
	return x.ClientStatus + " on " + x.NodeName
}

// printEvents says what happened to the tasks of a copy that a user would want to know while waiting. A copy that failed may have
// been replaced since the last look; why it did is news all the same.
func (f *follower) printEvents(x api.AllocListItem, silent bool) {
	wanted := x.DesiredStatus == state.DesiredRun || x.ClientStatus == state.ClientFailed
	for _, task := range sortedKeys(x.TaskStates) {
		key, events := x.ID+" "+task, x.TaskStates[task].Events
		for _, e := range eventsAfter(events, f.told[key]) {
			if !silent && wanted && telling(e) {
				f.copyLine(x, fmt.Sprintf("task %q: %s: %s", task, e.Type, e.Message))
			}
		}
		if len(events) > 0 {
			f.told[key] = events[len(events)-1]
		}
	}
}

// eventsAfter are the events that follow one that was seen: all when it is not among them any more. Their order is what counts, not
// their times: the exit of a task that ends at once is earlier than the word that it runs, and clocks are set back.
func eventsAfter(events []state.TaskEvent, seen state.TaskEvent) []state.TaskEvent {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i] == seen {
			return events[i+1:]
		}
	}
	return events
}

// telling reports whether an event is news to somebody who waits for a start.
func telling(e state.TaskEvent) bool {
	switch e.Type {
	case "Terminated":
		return e.ExitCode != 0 || e.Signal != 0 || e.OOM || e.Unknown
	case "Downloading Image", "Setup Failure", "Driver Failure", "Restarting", "Rebooted":
		return true
	}
	return false
}

// plainEvery is how often progress gets a line where the output is no terminal and copies get none.
const plainEvery = time.Second

// progress shows how far the copies are: on a terminal in a line that is written over, else, when copies get no lines of their
// own, in a line now and then.
func (f *follower) progress(text string) {
	same := f.line == text
	f.line = text
	switch {
	case f.app.terminal() && same && !f.shown.IsZero(): // it stands there
	case f.app.terminal():
		f.clear()
		if width := f.app.columns() - 1; len(text)+2 > width {
			text = text[:max(0, width-2)]
		}
		fmt.Fprint(f.app.out, "  "+text)
		f.shown = time.Now()
	case f.many && !same && time.Since(f.shown) >= plainEvery:
		f.shown = time.Now()
		fmt.Fprintf(f.app.out, "  %5.1fs  %s\n", f.took(), strings.TrimLeft(text[strings.Index(text, "]")+1:], " "))
	}
}

// clear removes the progress line of a terminal.
func (f *follower) clear() {
	if f.app.terminal() && !f.shown.IsZero() {
		fmt.Fprint(f.app.out, "\r\033[K")
		f.shown = time.Time{}
	}
}
