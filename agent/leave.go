package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/drover-io/drover/api"
)

const (
	// farewell bounds how long gossip may take to spread that this agent leaves.
	farewell = 3 * time.Second
	// goneFor is how long a server that was removed is not taken in anew although it still gossips: long enough for one that leaves
	// to be gone, short enough for one that was removed by mistake.
	goneFor = 10 * time.Second
	// heirWithin bounds how long a server that leaves waits for its successor as the leader.
	heirWithin = 10 * time.Second
)

// errLeft ends an agent that has left the cluster. It is a success.
var errLeft = errors.New("left the cluster")

// Leave takes this agent out of the cluster, and Run ends. A server gives up leadership and its vote first; it stays, and nothing has
// changed, when the others could not go on without it. Allocations that run here refuse it unless force is set; they are never
// stopped. A machine without any is declared down by its own word: nobody waits for it.
func (a *Agent) Leave(ctx context.Context, force bool) (*api.LeaveResponse, error) {
	if !a.leaving.TryLock() {
		return nil, api.NewError(api.CodeConflict, "", "agent %s is leaving already", a.cfg.Name)
	}
	resp, err := a.leave(ctx, force)
	if err != nil {
		a.leaving.Unlock()
		return nil, err
	}
	close(a.left) // once: whoever left keeps the lock
	return resp, nil
}

func (a *Agent) leave(ctx context.Context, force bool) (*api.LeaveResponse, error) {
	resp := &api.LeaveResponse{NodeID: a.id.NodeID, Name: a.cfg.Name, Server: a.server != nil, Client: a.client != nil}
	if a.client != nil {
		resp.Allocations = len(a.client.runner.Running())
		if resp.Allocations > 0 && !force {
			return nil, api.NewError(api.CodeConflict, "move them first (`drover agent leave --drain`), or leave them running unsupervised (--force)",
				"allocations run on %s: %d", a.cfg.Name, resp.Allocations)
		}
	}
	if a.server != nil {
		if err := a.server.leave(ctx); err != nil {
			return nil, err
		}
	}
	if a.client != nil {
		a.client.hush()
		resp.Down = resp.Allocations == 0 && a.sayDown(ctx)
	}
	if err := a.members.gossip.Leave(farewell); err != nil {
		a.log.Warn("left without everybody hearing of it", "error", err)
	}
	a.log.Info("left the cluster", "allocations_running_on", resp.Allocations)
	return resp, nil
}

// sayDown declares this machine down: nothing runs on it, and its agent will not poll any more.
func (a *Agent) sayDown(ctx context.Context) bool {
	err := a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		_, err := peer.DeclareNodeLost(ctx, a.id.NodeID, api.WriteOptions{})
		return err
	})
	if err != nil && !errors.Is(err, api.ErrNotFound) {
		a.log.Warn("the machine is not declared down; the servers will find that it is out of touch", "error", err)
	}
	return err == nil
}

// awaitLeaving ends the agent once it has left.
func (a *Agent) awaitLeaving(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.left:
		return errLeft
	}
}

// leave takes this server out of the Raft configuration, by the leader's word. One that leads hands over first.
func (s *server) leave(ctx context.Context) error {
	member := false
	for _, p := range s.raft.Peers() {
		member = member || p.ID == s.a.id.NodeID
	}
	if !member {
		return nil
	}
	if s.raft.IsLeader() {
		if err := s.mayGoSoon(ctx, s.a.id.NodeID); err != nil {
			return err
		}
		if err := s.raft.Transfer(ctx, ""); err != nil {
			return s.explainMembers(err)
		}
		if err := s.awaitHeir(ctx); err != nil {
			return err
		}
	}
	return s.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		_, err := peer.RemoveRaftPeer(ctx, s.a.id.NodeID, api.WriteOptions{})
		if errors.Is(err, api.ErrNotFound) {
			return nil // an earlier try did it
		}
		return err
	})
}

// awaitHeir waits until another server leads.
func (s *server) awaitHeir(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heirWithin)
	defer cancel()
	for {
		if id, _ := s.raft.Leader(); id != "" && id != s.a.id.NodeID {
			return nil
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return api.NewError(api.CodeNoLeader, "try again", "no other server has taken over from %s", s.a.cfg.Name)
		}
	}
}

// departed remembers which servers were removed, and when: see goneFor.
type departed struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (d *departed) note(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		d.at = map[string]time.Time{}
	}
	for old, at := range d.at {
		if time.Since(at) > goneFor {
			delete(d.at, old)
		}
	}
	d.at[id] = time.Now()
}

func (d *departed) recently(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.at[id]
	return ok && time.Since(at) < goneFor
}

// announce says once that the API serves.
func (a *Agent) announce(ctx context.Context) error {
	for a.opts.Ready != nil && ctx.Err() == nil {
		if _, err := a.peers.to(a.addrs.peer).Ping(ctx); err == nil {
			a.opts.Ready()
			break
		}
		_ = pause(ctx, 20*time.Millisecond) // ctx is looked at next
	}
	<-ctx.Done()
	return ctx.Err()
}
