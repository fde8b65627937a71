package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tendEvery is how often it is looked at how much is allocated.
	tendEvery = 500 * time.Millisecond
	// busyBytes is how much allocated between two looks is much.
	busyBytes = 8 << 20
	// busyLooks is how many busy looks in a row it takes: an agent that starts is busy for a moment, too. One of which much is alive is not
	// starting: for it a look is enough, or work that begins would find it collecting what a calm hour has left.
	busyLooks = 2
	// calmLooks is how many looks in a row with less end it. The polls of 5,000 idle nodes take up to 5 MB.
	calmLooks = 10
	// tidyLooks is how many looks pass at least before it tidies up again.
	tidyLooks = 20
	// roomWhenBusy is what the heap may grow by before it is collected, however small it is, on a machine with 3 GiB or less, and mostRoom on one
	// with 24 GiB or more: a 24th part in between. To collect a heap of 500 MiB takes a second of a processor; while a million allocations were
	// placed, with no more room than 128 MiB, that was a fourth of what a server did.
	roomWhenBusy = 128 << 20
	mostRoom     = 1 << 30
	roomPart     = 24
	// usualPercent is Go's own default: the heap may grow by what is alive. One of which much is alive grows by less while there is little to do.
	usualPercent = 100
	largePercent = 40
	large        = 256 << 20
)

// tender gives the garbage collector of a busy agent room. A server's heap is some ten megabytes; at a thousand registrations a second Go
// collects it several times a second, which was a quarter of what they cost. An idle agent stays as small as it is.
type tender struct {
	room       uint64 // bytes that the heap may grow by when busy
	busy, calm int
	working    bool // until it is calm
	percent    int  // as set now
	rest       int  // looks until it may tidy up again
}

// roomOn is the room on a machine with that much memory.
func roomOn(total uint64) uint64 { return min(max(total/roomPart, roomWhenBusy), mostRoom) }

// look judges how much was allocated since the last look in a heap of which so much is alive, and returns the percentage to set.
func (t *tender) look(allocated, alive uint64) int {
	if allocated >= busyBytes {
		t.busy, t.calm = t.busy+1, 0
	} else {
		t.busy, t.calm = 0, t.calm+1
	}
	t.rest = max(0, t.rest-1)
	switch {
	case t.busy >= busyLooks, t.busy > 0 && alive >= large, t.working && t.calm < calmLooks:
		t.working, t.percent = true, max(usualPercent, int(t.room*100/max(alive, 1<<20)))
	case alive >= large:
		t.working, t.percent = false, largePercent
	default:
		t.working, t.percent = false, usualPercent
	}
	return t.percent
}

// litter is how much of the heap may be garbage, beside a quarter of what is alive, before a calm agent gives it back.
const litter = 32 << 20

// tidies reports whether it is time to give back what a burst of work left behind: a heap of a gigabyte would keep another one of
// garbage for as long as nothing more happens. What calm work leaves is collected then, too: at its usual growth, which is a little later, a
// large heap would be collected just when work begins again, before the look that gives it room.
func (t *tender) tidies(alive, used uint64) bool {
	if t.rest > 0 || t.calm < calmLooks || used <= alive+alive/4+litter {
		return false
	}
	t.rest = tidyLooks
	return true
}

// tendGarbage looks after the collector until ctx ends. Who sets GOGC has decided otherwise.
func tendGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	t, last, set := &tender{room: roomWhenBusy, percent: usualPercent}, uint64(0), usualPercent
	if info := (unix.Sysinfo_t{}); unix.Sysinfo(&info) == nil {
		t.room = roomOn(uint64(info.Totalram) * uint64(info.Unit))
	}
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		allocated, alive := samples[0].Value.Uint64(), samples[1].Value.Uint64()
		percent := t.look(allocated-last, alive)
		last = allocated
		used := samples[2].Value.Uint64() + samples[3].Value.Uint64() + samples[4].Value.Uint64() // what the heap has of the machine
		if percent != set {
			debug.SetGCPercent(percent)
			set = percent
		}
		if t.tidies(alive, used) {
			debug.FreeOSMemory() // what the work left behind
		}
	}
}
