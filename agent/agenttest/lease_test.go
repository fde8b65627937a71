package agenttest

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// TestLeaseOnly: where servers take the lease for all evidence, a node that neither gossips nor listens is ready for as long as it
// polls, through whichever server, disconnected when it stops, and ready again when it goes on.
func TestLeaseOnly(t *testing.T) {
	leaseOnly := func(_ int, c *agent.Config) { c.Server.LeaseOnly = true }
	inBubble(t, Options{Servers: 3, Config: leaseOnly}, func(t *testing.T, c *Cluster) {
		base, err := api.New(api.Config{Addr: "http://" + c.Follower().Host.IP() + ":4647", Dial: func(ctx context.Context, _, a string) (net.Conn, error) {
			return c.admin.Dial(ctx, a)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		sim := &simulated{node: &state.Node{
			ID: uuid.NewString(), Name: "simulated", Datacenter: "dc1", NodePool: "default", Region: "global", PeerAddr: "192.0.2.1:4647", HTTPAddr: "192.0.2.1:4646",
			HostIP: "192.0.2.1", Level: state.MaxLevel, Boot: 1, Resources: state.NodeResources{CPU: 1000, MemoryMB: 1000, DiskMB: 1000, MinDynamicPort: 20000, MaxDynamicPort: 20100},
		}}
		sim.peer = base.As(sim.node.ID)
		sim.register(t)
		status := func() string {
			n, _, err := c.Leader().API.Node(t.Context(), sim.node.ID, api.QueryOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return n.Status
		}
		for range 30 {
			sim.poll(t)
			if got := status(); got != state.NodeStatusReady {
				t.Fatalf("a node that renews its lease is %s, want %s", got, state.NodeStatusReady)
			}
		}
		time.Sleep(10 * time.Second)
		if got := status(); got != state.NodeStatusDisconnected {
			t.Errorf("a node that stopped polling is %s, want %s", got, state.NodeStatusDisconnected)
		}
		for range 5 {
			sim.poll(t)
		}
		if got := status(); got != state.NodeStatusReady {
			t.Errorf("a node that polls again is %s, want %s", got, state.NodeStatusReady)
		}
	})
}

// simulated is a node that speaks the protocol and is nothing else.
type simulated struct {
	peer  *api.Client
	node  *state.Node
	index uint64
}

func (s *simulated) register(t *testing.T) {
	t.Helper()
	resp, err := s.peer.NodeRegister(t.Context(), &api.RegisterRequest{Node: s.node})
	if err != nil {
		t.Fatal(err)
	}
	s.index = resp.Index
}

func (s *simulated) poll(t *testing.T) {
	t.Helper()
	req := &api.PollRequest{NodeID: s.node.ID, Boot: 1, Index: s.index, Since: s.index, Wait: time.Second}
	resp, err := s.peer.NodePoll(t.Context(), req, true)
	for errors.Is(err, api.ErrBehind) { // the follower has not applied the registration yet
		time.Sleep(50 * time.Millisecond)
		resp, err = s.peer.NodePoll(t.Context(), req, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.index = resp.Index
}
