package state

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// runningHerd has copies that run, on nodes with the IDs that real ones have, each reported in two steps as an agent does.
func runningHerd(t testing.TB, nodes, copies int) *herd {
	h := newHerd(t)
	ids := make([]string, nodes)
	for i := range ids {
		ids[i] = fmt.Sprintf("%08x-0000-4000-8000-%012x", i*2654435761%(1<<32), i)
		n := testNode(ids[i])
		n.Resources.CPU, n.Resources.MemoryMB, n.Resources.DiskMB = 1<<29, 1<<29, 1<<29
		h.must(RegisterNode{Node: n})
	}
	const plan = 1000
	for at := 0; at < copies; at += plan {
		j := h.job(testJob(fmt.Sprint("job-", at/plan), plan))
		index, node := make([]int, plan), make([]int, plan)
		for i := range index {
			index[i], node[i] = i, (at+i*7)%nodes
		}
		cmd := h.planCommand(record(j, index, node), ids...)
		cmd.Seed[2], cmd.Seed[3] = byte(at/plan), byte(at/plan>>8)
		h.index++
		h.store.ApplyCommand(h.index, testTerm, cmd)
	}
	if got := h.snap().AllocCount(); got != copies {
		t.Fatalf("%d copies are placed, want %d", got, copies)
	}
	for _, id := range ids {
		r := NodeReport{NodeID: id, Boot: 1, Seq: uint64(len(id))}
		for a := range h.snap().AllocsByNode(id) {
			at := int64(1_700_000_000_000_000_000) + int64(a.Index)*1_000_003
			r.Allocs = append(r.Allocs, AllocReport{ID: a.ID, Status: ClientRunning, Tasks: map[string]TaskState{"server": {
				State: TaskRunning, StartedAt: at, Events: []TaskEvent{{Type: "Received", Time: at - 5}, {Type: "Started", Time: at, Message: "Task started by client"}},
			}}})
		}
		h.index++
		h.store.ApplyCommand(h.index, testTerm, Report{Time: int64(h.index), Nodes: []NodeReport{r}})
	}
	return h
}

func benchSizes(b *testing.B, f func(b *testing.B, copies int)) {
	for _, copies := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(copies), func(b *testing.B) {
			if testing.Short() && copies > 100_000 {
				b.Skip("long")
			}
			f(b, copies)
		})
	}
}

// BenchmarkSave writes a state of so many running copies.
func BenchmarkSave(b *testing.B) {
	benchSizes(b, func(b *testing.B, copies int) {
		s := runningHerd(b, 5000, copies).snap()
		var n countingWriter
		b.ReportAllocs()
		for b.Loop() {
			n = 0
			if err := s.Save(&n); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)/float64(copies), "file-bytes/alloc")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(copies), "ns/alloc")
	})
}

type countingWriter int

func (c *countingWriter) Write(b []byte) (int, error) {
	*c += countingWriter(len(b))
	return len(b), nil
}

var _ io.Writer = (*countingWriter)(nil)

// BenchmarkRestore reads it into a store.
func BenchmarkRestore(b *testing.B) {
	benchSizes(b, func(b *testing.B, copies int) {
		data := saved(b, runningHerd(b, 5000, copies).snap())
		b.ReportAllocs()
		for b.Loop() {
			runtime.GC()
			if err := NewStore().Restore(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(copies), "ns/alloc")
	})
}
