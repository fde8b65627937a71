package consensus

import (
	"encoding/binary"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// sharedBytes is up to how large an entry grows by taking in one more command.
	sharedBytes = 256 << 10
	// sharedCommands is how many commands may share an entry.
	sharedCommands = 64
)

// An entry of raft's log may hold several commands: raft, its transport and its log store work by the entry, and for a command of two
// kilobytes that costs as much as all the rest. Data has the commands one behind the other and Extensions their sizes, as unsigned
// varints; an entry without Extensions is one command.

// parcel is an entry on its way and the proposals that share it.
type parcel struct {
	entry  raft.Log
	shared []*gathered
	future raft.ApplyFuture
}

// parcels puts proposals into entries, in their order. Those that share one have different keys: who reads what an entry led to sees all
// of it at once, so that of two changes of the same object nobody could see the first.
func parcels(round []*gathered) (out []parcel) {
	for left := round; len(left) > 0; {
		n := sharing(left)
		out = append(out, parcel{entry: joined(left[:n]), shared: left[:n]})
		left = left[n:]
	}
	return out
}

// sharing is how many of the next proposals go into one entry.
func sharing(next []*gathered) int {
	if next[0].key == "" {
		return 1
	}
	size, seen := 0, make(map[string]struct{}, min(len(next), sharedCommands))
	for i, p := range next[:min(len(next), sharedCommands)] {
		size += len(p.data)
		if _, twice := seen[p.key]; twice || p.key == "" || i > 0 && size > sharedBytes {
			return i
		}
		seen[p.key] = struct{}{}
	}
	return len(seen)
}

// joined is the entry of some proposals.
func joined(shared []*gathered) raft.Log {
	if len(shared) == 1 {
		return raft.Log{Data: shared[0].data}
	}
	size := 0
	for _, p := range shared {
		size += len(p.data)
	}
	l := raft.Log{Data: make([]byte, 0, size), Extensions: make([]byte, 0, len(shared)*binary.MaxVarintLen16)}
	for _, p := range shared {
		l.Data = append(l.Data, p.data...)
		l.Extensions = binary.AppendUvarint(l.Extensions, uint64(len(p.data)))
	}
	return l
}

// commands are the commands of an entry. One whose sizes are not those of its data is given out whole: it is for the FSM to say that it
// cannot read it.
func commands(l *raft.Log) [][]byte {
	whole := [][]byte{l.Data}
	if len(l.Extensions) == 0 {
		return whole
	}
	var out [][]byte
	sizes, data := l.Extensions, l.Data
	for len(sizes) > 0 {
		size, n := binary.Uvarint(sizes)
		if n <= 0 || size > uint64(len(data)) {
			return whole
		}
		out, sizes, data = append(out, data[:size:size]), sizes[n:], data[size:]
	}
	if len(data) > 0 {
		return whole
	}
	return out
}

// begin hands the entry to raft.
func (f *parcel) begin() {
	first := f.shared[0]
	f.future = first.apply(f.entry, first.timeout)
}

// end waits for raft and gives each proposal its answer.
func (f *parcel) end() {
	err := f.future.Error()
	if err != nil {
		err = proposed(err)
		for _, p := range f.shared {
			p.answered <- answered{err: err}
		}
		return
	}
	values := []any{f.future.Response()}
	if len(f.shared) > 1 {
		values = f.future.Response().([]any)
	}
	for i, p := range f.shared {
		p.answered <- answered{result: Result{Index: f.future.Index(), Value: values[i]}}
	}
}

// applyFunc is raft.Raft.ApplyLog.
type applyFunc func(raft.Log, time.Duration) raft.ApplyFuture
