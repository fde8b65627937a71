package consensus

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// blank is an FSM that only counts.
type blank struct{ applied atomic.Uint64 }

func (b *blank) Apply(entries []Committed) []any {
	results := make([]any, len(entries))
	for i := range results {
		results[i] = b.applied.Add(1)
	}
	return results
}

func (b *blank) Snapshot() func(io.Writer) error { return func(io.Writer) error { return nil } }

func (b *blank) Restore(io.Reader) error { return nil }

// tcpLayer is raft's stream layer over loopback TCP.
type tcpLayer struct{ net.Listener }

func (tcpLayer) Dial(a raft.ServerAddress, d time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(a), d)
}

// benchCluster is three servers of this process on the disk, every write flushed.
func benchCluster(b *testing.B, tune func(*Config)) (leader *Consensus, all []*Consensus) {
	var first []Server
	for i := range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		cfg := DefaultConfig()
		cfg.NodeID, cfg.Dir, cfg.FSM, cfg.Transport = fmt.Sprint("n", i), b.TempDir(), &blank{}, tcpLayer{ln}
		if tune != nil {
			tune(&cfg)
		}
		c, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
		first = append(first, Server{cfg.NodeID, ln.Addr().String()})
	}
	for _, c := range all {
		if err := c.Bootstrap(first); err != nil {
			b.Fatal(err)
		}
	}
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		for _, c := range all {
			if c.IsLeader() && c.VerifyLeader(b.Context()) == nil {
				return c, all
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	b.Fatal("no leader")
	return nil, nil
}

// BenchmarkPropose proposes commands of 1 KB from so many goroutines, in entries of their own and shared. TMPDIR names the disk.
func BenchmarkPropose(b *testing.B) {
	for _, proposers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(proposers), func(b *testing.B) { benchPropose(b, proposers, 1024, false, nil) })
		b.Run(fmt.Sprintf("%d/shared", proposers), func(b *testing.B) { benchPropose(b, proposers, 1024, true, nil) })
	}
}

func benchPropose(b *testing.B, proposers, size int, share bool, tune func(*Config)) {
	l, _ := benchCluster(b, tune)
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	var left atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	left.Store(int64(b.N))
	start := time.Now()
	for i := range proposers {
		key := ""
		if share {
			key = fmt.Sprint(i)
		}
		wg.Go(func() {
			var mine []time.Duration
			for left.Add(-1) >= 0 {
				begun := time.Now()
				if _, err := l.ProposeShared(context.Background(), key, make([]byte, size)); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "proposals/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkFollowerHears is the time from the leader's answer until the followers have applied the entry too.
func BenchmarkFollowerHears(b *testing.B) {
	l, all := benchCluster(b, nil)
	var late time.Duration
	for b.Loop() {
		r, err := l.Propose(b.Context(), []byte("x"))
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		for _, c := range all {
			if err := c.WaitApplied(b.Context(), r.Index); err != nil {
				b.Fatal(err)
			}
		}
		late += time.Since(start)
	}
	b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
}

// BenchmarkMaxAppend is what the number of entries that share one write is worth.
func BenchmarkMaxAppend(b *testing.B) {
	for _, most := range []int{16, 64, 128, 256, 512} {
		b.Run(fmt.Sprint(most), func(b *testing.B) { benchPropose(b, 256, 1024, false, func(c *Config) { c.maxAppend = most }) })
	}
}
