package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// jobDiff is what separates a job's copies from what is wanted. It is a function of the job's row, its allocations and the
// status of their nodes; which node a copy gets is not decided yet.
type jobDiff struct {
	job     *state.Job
	stops   []stop
	groups  []*groupDiff
	live    []*state.Alloc // copies that stay or are replaced, for usage
	due     int64          // when a failed copy may be replaced; 0 for never
	version func(uint64) *state.Job
	same    map[workKey]bool // which versions ask their nodes for the same as the current one
	shed    map[string]bool  // copies that their nodes must lose
}

// workKey names what a version of the job asks of a node.
type workKey struct {
	version uint64
	group   string
}

// stop is an allocation that goes without anything coming in its place.
type stop struct {
	alloc       *state.Alloc
	description string
}

// groupDiff is the part of one group.
type groupDiff struct {
	ask      *ask
	requests []request // in slot order, replacements of outdated copies last
	keep     int       // slots that are as they should be
	later    int       // outdated copies that wait for the roll-out to reach them
	waiting  int       // failed copies that wait for their delay
	ended    int       // copies that failed or completed for good
	unproven int       // slots that have, or should get, the wanted version, and do not run it yet
}

// slot is one copy of a group: what there is of it.
type slot struct {
	live    []*state.Alloc // desired to run, and may be running
	ended   *state.Alloc   // the newest that was desired to run and has ended, or is lost
	past    bool           // there was a copy that was told to stop
	leaving *state.Alloc   // the newest of these that has not ended yet, on a node that can be told
}

// diffJob compares a job with its allocations. A job whose row is gone (purged, or collected) wants nothing.
func diffJob(snap *state.Snapshot, job *state.Job, shed map[string]bool, now int64) *jobDiff {
	d := &jobDiff{job: job, shed: shed, version: func(v uint64) *state.Job {
		if v == job.Version {
			return job
		}
		return snap.JobVersion(job.Namespace, job.ID, v)
	}}
	if !job.Stop {
		d.groups = make([]*groupDiff, 0, len(job.TaskGroups))
		for i := range job.TaskGroups {
			d.groups = append(d.groups, &groupDiff{ask: newAsk(job, &job.TaskGroups[i])})
		}
	}
	var slots map[string][]slot // of a job that has copies
	for a := range snap.AllocsByJob(job.Namespace, job.ID) {
		if slots == nil {
			slots = d.slots()
		}
		s := slots[a.TaskGroup]
		if a.Index < 0 || a.Index >= len(s) {
			d.surplus(a)
			continue
		}
		s[a.Index].add(snap, a)
	}
	for _, gd := range d.groups {
		if slots == nil {
			gd.request()
		} else {
			gd.fill(snap, d, slots[gd.ask.group.Name], now)
		}
	}
	slices.SortFunc(d.stops, func(a, b stop) int {
		return cmp.Or(strings.Compare(a.alloc.TaskGroup, b.alloc.TaskGroup), cmp.Compare(a.alloc.Index, b.alloc.Index),
			strings.Compare(a.alloc.ID, b.alloc.ID))
	})
	return d
}

// slots are those of each group, empty.
func (d *jobDiff) slots() map[string][]slot {
	out := make(map[string][]slot, len(d.groups))
	for _, gd := range d.groups {
		out[gd.ask.group.Name] = make([]slot, gd.count())
	}
	return out
}

// heeds reports whether a copy has not ended and its node can be told to end it.
func heeds(snap *state.Snapshot, a *state.Alloc) bool {
	status := snap.ClientStatus(a)
	return status == state.ClientPending || status == state.ClientRunning
}

// surplus stops what no slot wants. Copies that have ended are marked too: when the job is run again they must not count.
func (d *jobDiff) surplus(a *state.Alloc) {
	if a.TerminalDesired() || (d.job.CreateIndex == 0 && a.TerminalClient()) { // ended, and the job is gone
		return
	}
	why := fmt.Sprintf("count of group %s was lowered", a.TaskGroup)
	switch {
	case d.job.Stop:
		why = "job was stopped"
	case d.job.Group(a.TaskGroup) == nil:
		why = fmt.Sprintf("group %s was removed from the job", a.TaskGroup)
	}
	d.stops = append(d.stops, stop{a, why})
}

func (s *slot) add(snap *state.Snapshot, a *state.Alloc) {
	switch {
	case a.TerminalDesired():
		s.past = true
		if heeds(snap, a) && (s.leaving == nil || newer(a, s.leaving)) {
			s.leaving = a
		}
	case snap.Live(a):
		s.live = append(s.live, a)
	case s.ended == nil || newer(a, s.ended):
		s.ended = a
	}
}

func newer(a, b *state.Alloc) bool {
	if a.CreateIndex != b.CreateIndex {
		return a.CreateIndex > b.CreateIndex
	}
	return a.ID > b.ID
}

func (gd *groupDiff) count() int { return max(0, gd.ask.group.Count) }

// request is fill for a group that never had a copy.
func (gd *groupDiff) request() {
	gd.requests = make([]request, gd.count())
	for i := range gd.requests {
		gd.requests[i].index = i
	}
}

// fill decides each slot of a group, and then how many of the outdated copies go now.
func (gd *groupDiff) fill(snap *state.Snapshot, d *jobDiff, slots []slot, now int64) {
	var old []request
	empty := 0
	for i := range slots {
		if len(slots[i].live) == 0 {
			empty++
		}
	}
	gd.requests = make([]request, 0, empty)
	for i := range slots {
		s := &slots[i]
		if len(s.live) > 0 {
			best := d.keepOne(snap, s.live)
			d.live = append(d.live, best)
			if r := gd.decideLive(snap, d, i, best); r != nil {
				old = append(old, *r)
			}
			continue
		}
		gd.decideEmpty(d, i, s, now)
	}
	n := mayStop(gd.ask.group, gd.unproven, len(old))
	gd.requests = append(gd.requests, old[:n]...)
	gd.later = len(old) - n
}

// mayStop is how many of a group's copies may be stopped by our own choice now: every voluntary stop asks here. Slots that do
// not run what they should count as stopped already.
func mayStop(g *state.TaskGroup, unproven, wanted int) int {
	if g.Update.MaxParallel <= 0 {
		return wanted
	}
	return min(wanted, max(0, g.Update.MaxParallel-unproven))
}

// keepOne returns the best live copy of a slot and stops the others.
func (d *jobDiff) keepOne(snap *state.Snapshot, live []*state.Alloc) *state.Alloc {
	best := slices.MinFunc(live, func(a, b *state.Alloc) int {
		if c := sign(rank(snap, d.job, a) > rank(snap, d.job, b), rank(snap, d.job, a) < rank(snap, d.job, b)); c != 0 {
			return c
		}
		return sign(newer(b, a), newer(a, b)) // the older one has run longer
	})
	for _, a := range live {
		if a != best {
			d.stops = append(d.stops, stop{a, fmt.Sprintf("duplicate of %s", best.ID)})
		}
	}
	return best
}

// rank says how much a copy is worth keeping.
func rank(snap *state.Snapshot, job *state.Job, a *state.Alloc) int {
	r := 0
	if a.JobVersion == job.Version {
		r += 4
	}
	switch snap.ClientStatus(a) {
	case state.ClientRunning:
		r += 2
	case state.ClientPending:
		r++
	}
	return r
}

// decideLive keeps a copy, moves it, or returns the request that would replace it because it is outdated or its node shrank.
func (gd *groupDiff) decideLive(snap *state.Snapshot, d *jobDiff, index int, a *state.Alloc) *request {
	status := snap.ClientStatus(a)
	old := d.isOutdated(snap, gd.ask, a)
	switch {
	case status == state.ClientUnknown: // it may be running: nothing is decided until its node is heard of, or down
		gd.keep++
		if !old {
			gd.unproven++
		}
	case a.Migrate:
		gd.unproven++
		gd.requests = append(gd.requests, request{index: index, kind: migrated, stop: a, cause: &cause{description: "a user asked for it to be moved"}})
	case old:
		return &request{index: index, kind: outdated, stop: a, cause: d.replaced()}
	case d.shed[a.ID]:
		return &request{index: index, kind: outdated, stop: a, cause: &cause{description: "its node has less room than it holds"}}
	default:
		gd.keep++
		if status != state.ClientRunning {
			gd.unproven++
		}
	}
	return nil
}

// replaced is why a copy of another version goes.
func (d *jobDiff) replaced() *cause {
	return &cause{description: fmt.Sprintf("replaced by version %d of the job", d.job.Version)}
}

// decideEmpty decides a slot without a live copy.
func (gd *groupDiff) decideEmpty(d *jobDiff, index int, s *slot, now int64) {
	a := s.ended
	if a == nil {
		if s.past { // its roll-out has begun: the next must wait for it. A slot that never had a copy holds nobody up
			gd.unproven++
		}
		gd.requests = append(gd.requests, request{index: index, leaving: s.leaving})
		return
	}
	changed := d.outdatedWork(a)
	r := request{index: index, stop: a, leaving: s.leaving, cause: &cause{}}
	switch {
	case a.ClientStatus == state.ClientComplete && d.job.Type == state.JobTypeBatch:
		if !changed {
			gd.ended++
			return
		}
		r.cause.description = fmt.Sprintf("run again with version %d of the job", d.job.Version)
	case !a.TerminalClient():
		r.cause.description = "its node is lost"
	case changed:
		r.cause = d.replaced()
	default:
		gd.reschedule(d, r, now)
		return
	}
	gd.unproven++
	gd.requests = append(gd.requests, r)
}

// reschedule replaces a copy that has ended although it should not have, when its policy says so.
func (gd *groupDiff) reschedule(d *jobDiff, r request, now int64) {
	gd.unproven++
	delay, again := rescheduleDelay(gd.ask.group.ReschedulePolicy, r.stop)
	if !again {
		gd.ended++
		return
	}
	if due := r.stop.ClientModifyTime + int64(delay); due > now {
		d.due = earlier(d.due, due)
		gd.waiting++
		return
	}
	r.cause = &cause{
		description: "failed, placed again",
		event:       state.RescheduleEvent{Time: now, PrevAllocID: r.stop.ID, PrevNodeID: r.stop.NodeID, Delay: int64(delay)},
		avoid:       []string{r.stop.NodeID},
	}
	for _, e := range r.stop.RescheduleEvents {
		r.cause.avoid = append(r.cause.avoid, e.PrevNodeID)
	}
	gd.requests = append(gd.requests, r)
}

// isOutdated reports whether a live copy must be replaced because its job changed.
func (d *jobDiff) isOutdated(snap *state.Snapshot, a *ask, alloc *state.Alloc) bool {
	if alloc.JobVersion == d.job.Version {
		return false
	}
	if d.outdatedWork(alloc) {
		return true
	}
	n := snap.Node(alloc.NodeID)
	return n != nil && !a.admits(n)
}

// outdatedWork reports whether the copy does something else than the job wants now.
func (d *jobDiff) outdatedWork(a *state.Alloc) bool {
	if a.JobVersion == d.job.Version {
		return false
	}
	k := workKey{a.JobVersion, a.TaskGroup}
	same, known := d.same[k]
	if !known {
		then := d.version(a.JobVersion)
		same = then != nil && state.SameWork(then, d.job, a.TaskGroup)
		if d.same == nil {
			d.same = map[workKey]bool{}
		}
		d.same[k] = same
	}
	return !same
}

// name is what a copy is called.
func (d *jobDiff) name(group string, index int) string {
	return fmt.Sprintf("%s.%s[%d]", d.job.ID, group, index)
}
