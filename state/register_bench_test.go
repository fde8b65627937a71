package state

import (
	"fmt"
	"testing"
)

// BenchmarkApplyRegister applies the registrations of new jobs, as the log has them, to a state with thousands.
func BenchmarkApplyRegister(b *testing.B) {
	h := newHerd(b)
	for i := range 5000 {
		h.must(RegisterJob{RequestID: fmt.Sprintf("r-%d", i), Job: testJob(fmt.Sprintf("job-%d", i), 1)})
	}
	var entries [][]byte
	for i := range 1000 {
		data, err := EncodeFor(RegisterJob{RequestID: fmt.Sprintf("q-%d", i), Job: testJob(fmt.Sprintf("new-%d", i), 1)}, MaxLevel)
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, data)
	}
	b.ReportAllocs()
	base, n := h.snap(), 0
	for b.Loop() {
		if n%len(entries) == 0 { // not to grow without end
			h.store.current.Store(base)
		}
		h.index++
		if _, failed := h.store.Apply(h.index, testTerm, entries[n%len(entries)]).(error); failed {
			b.Fatal("refused")
		}
		n++
	}
}

// BenchmarkApplyRegister32 is the same with 32 of them at a time.
func BenchmarkApplyRegister32(b *testing.B) {
	h := newHerd(b)
	for i := range 5000 {
		h.must(RegisterJob{RequestID: fmt.Sprintf("r-%d", i), Job: testJob(fmt.Sprintf("job-%d", i), 1)})
	}
	var entries []Entry
	for i := range 1024 {
		data, err := EncodeFor(RegisterJob{RequestID: fmt.Sprintf("q-%d", i), Job: testJob(fmt.Sprintf("new-%d", i), 1)}, MaxLevel)
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, Entry{Term: testTerm, Data: data})
	}
	b.ReportAllocs()
	base, n := h.snap(), 0
	for b.Loop() {
		at := n * 32 % len(entries)
		if at == 0 { // not to grow without end
			h.store.current.Store(base)
		}
		batch := entries[at : at+32]
		for i := range batch {
			h.index++
			batch[i].Index = h.index
		}
		for _, r := range h.store.ApplyAll(batch) {
			if err, failed := r.(error); failed {
				b.Fatal(err)
			}
		}
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(32*n), "µs/entry")
}
