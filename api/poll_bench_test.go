package api

import (
	"context"
	"net"
	"sync"
	"testing"
)

// BenchmarkPoll is a poll that is answered at once, over TCP, both sides together.
func BenchmarkPoll(b *testing.B) {
	h := &herd{t: &testing.T{}, net: newMemNet(), agents: map[string]*agent{}, leader: "s1", ready: true, cluster: "herd", lagging: map[string]bool{}}
	a := h.start("s1", true, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(b.Context())
	wg.Go(func() { h.check(a.server.ServePeer(ctx, l)) })
	defer wg.Wait()
	defer cancel()
	defer h.close()
	c, err := New(Config{Addr: "http://" + l.Addr().String(), NodeID: "n1", Retries: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.NodePoll(b.Context(), &PollRequest{NodeID: "n1", ClusterID: "herd", Boot: 1, Index: 1000, Since: 1000}, true); err != nil {
			b.Fatal(err)
		}
	}
}
