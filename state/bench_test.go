package state

import (
	"fmt"
	"runtime"
	"testing"
)

// wideHerd has n nodes that take anything, and a job of count copies.
func wideHerd(b *testing.B, nodes, count int) (*herd, *Job) {
	h := newHerd(b)
	for i := range nodes {
		n := testNode(fmt.Sprintf("node-%05d", i))
		n.Resources.CPU, n.Resources.MemoryMB, n.Resources.DiskMB = 1<<29, 1<<29, 1<<29
		h.must(RegisterNode{Node: n})
	}
	return h, h.job(testJob("a", count))
}

// thousand is the plan of copies from to from+999, one per node in turn.
func thousand(h *herd, j *Job, from, nodes int) ApplyPlan {
	index, node := make([]int, 1000), make([]int, 1000)
	ids := make([]string, nodes)
	for i := range ids {
		ids[i] = fmt.Sprintf("node-%05d", i)
	}
	for i := range index {
		index[i], node[i] = from+i, i%nodes
	}
	return h.planCommand(record(j, index, node), ids...)
}

// BenchmarkApplyPlan1000 decodes and applies a plan of 1,000 copies onto 1,000 nodes.
func BenchmarkApplyPlan1000(b *testing.B) {
	h, j := wideHerd(b, 1000, maxCount)
	data, err := Encode(thousand(h, j, 0, 1000))
	if err != nil {
		b.Fatal(err)
	}
	base := h.snap()
	b.ReportAllocs()
	for b.Loop() {
		cmd, err := Decode(data)
		if err != nil {
			b.Fatal(err)
		}
		if _, result := base.With(h.index+1, testTerm, cmd); result.(PlanResult).Placed != 1000 {
			b.Fatal(result)
		}
	}
	b.ReportMetric(float64(len(data))/1000, "log-bytes/copy")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/copy")
}

// BenchmarkApplyOneReport is the most frequent entry of a quiet cluster of 10,000 copies.
func BenchmarkApplyOneReport(b *testing.B) {
	h, j := wideHerd(b, 100, maxCount)
	for from := 0; from < maxCount; from += 1000 {
		h.must(thousand(h, j, from, 100))
	}
	a := h.firstAlloc()
	data := make([][]byte, 2)
	for i, status := range []string{ClientRunning, ClientPending} {
		data[i], _ = Encode(reportOf(a, 2, 1, status))
	}
	base := h.snap()
	b.ReportAllocs()
	for b.Loop() {
		cmd, err := Decode(data[0])
		if err != nil {
			b.Fatal(err)
		}
		if _, result := base.With(h.index+1, testTerm, cmd); result.(ReportResult).Applied != 1 {
			b.Fatal(result)
		}
	}
}

// BenchmarkBytesPerAlloc says what 100,000 copies cost in memory and in a snapshot file.
func BenchmarkBytesPerAlloc(b *testing.B) {
	for b.Loop() {
		h, _ := wideHerd(b, 100, 0)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for k := range 10 {
			j := h.job(testJob(fmt.Sprint("job-", k), maxCount))
			for from := 0; from < maxCount; from += 1000 {
				cmd := thousand(h, j, from, 100)
				cmd.Seed[2] = byte(k)
				h.index++
				h.store.ApplyCommand(h.index, testTerm, cmd)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		n := float64(h.snap().AllocCount())
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-bytes/alloc")
		b.ReportMetric(float64(len(saved(b, h.snap())))/n, "file-bytes/alloc")
	}
}
