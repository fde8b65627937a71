package gossip

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxMissing bounds how many dead members are remembered.
	maxMissing = 4096
	// conflictTTL is how long a conflict is shown after it was last seen. Members tell each other everything every 30 s.
	conflictTTL = 2 * time.Minute
	// maxConflicts bounds how many are remembered.
	maxConflicts = 64
)

// What Join's error wraps when members were reached and refused.
var (
	// ErrOtherCluster: they belong to another cluster.
	ErrOtherCluster = errors.New("members of another cluster")
	// ErrNameTaken: a live machine at another address has this node's ID.
	ErrNameTaken = errors.New("another live machine has this node's ID")
)

// Status is what gossip thinks of a member.
type Status string

// The states of a member.
const (
	Alive Status = "alive" // answers, or is suspected and not yet given up
	Dead  Status = "dead"  // stopped answering without a word
	Left  Status = "left"  // said that it leaves
)

// Member is one member as last heard of.
type Member struct {
	Tags
	Addr   string // host:port of its gossip
	Status Status
	Since  time.Time // of the status, on this machine's clock
}

// Conflict is two live machines that claim one node ID.
type Conflict struct {
	Name string    // the node ID
	Addr string    // gossip address of the one that was there first
	New  string    // gossip address of the one that is refused
	Self bool      // the ID is this node's own: one of the two is this machine
	Last time.Time // when it was last seen
}

// table is the members as memberlist's callbacks told. Its methods never block and never call into memberlist.
type table struct {
	self     string
	remember time.Duration
	changed  chan struct{}

	mu        sync.Mutex
	tags      Tags // this node's own
	members   map[string]Member
	conflicts map[string]Conflict
	refusal   error // why the last merge was refused
}

var (
	_ memberlist.Delegate         = (*table)(nil)
	_ memberlist.EventDelegate    = (*table)(nil)
	_ memberlist.AliveDelegate    = (*table)(nil)
	_ memberlist.MergeDelegate    = (*table)(nil)
	_ memberlist.ConflictDelegate = (*table)(nil)
)

func newTable(cfg Config) *table {
	return &table{
		self: cfg.Name, remember: cfg.RememberDead, tags: cfg.Tags, changed: make(chan struct{}, 1),
		members: map[string]Member{}, conflicts: map[string]Conflict{},
	}
}

func (t *table) mark() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *table) put(n *memberlist.Node, gone bool) {
	tags, err := decodeTags(n.Meta)
	if err != nil {
		return // NotifyAlive let nobody in with such tags
	}
	tags.ID = n.Name
	m := Member{Tags: tags, Addr: n.Address(), Status: Alive, Since: time.Now()}
	switch {
	case tags.Left:
		m.Status = Left
	case gone:
		m.Status = Dead
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.members[n.Name]; ok && old.Status == m.Status {
		m.Since = old.Since
	}
	t.members[n.Name] = m
	t.mark()
}

// NotifyJoin is told that a member appeared or came back.
func (t *table) NotifyJoin(n *memberlist.Node) { t.put(n, false) }

// NotifyUpdate is told that a member's tags changed.
func (t *table) NotifyUpdate(n *memberlist.Node) { t.put(n, false) }

// NotifyLeave is told that a member died or left.
func (t *table) NotifyLeave(n *memberlist.Node) { t.put(n, true) }

// NotifyAlive refuses members of another cluster one by one, also when somebody in the middle passes them on.
func (t *table) NotifyAlive(n *memberlist.Node) error {
	if n.Name == t.self {
		return nil
	}
	tags, err := decodeTags(n.Meta)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sameCluster(n, tags)
}

// NotifyMerge refuses a whole exchange with members of another cluster, or with members among whom a live machine at another
// address has this node's ID.
func (t *table) NotifyMerge(peers []*memberlist.Node) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusal = t.refuse(peers)
	return t.refusal
}

func (t *table) refuse(peers []*memberlist.Node) error {
	for _, n := range peers {
		if n.State != memberlist.StateAlive {
			continue
		}
		if n.Name == t.self {
			if mine, ok := t.members[t.self]; ok && mine.Addr != n.Address() {
				t.conflict(n.Name, n.Address(), mine.Addr)
				return fmt.Errorf("%w: %s is at %s and at %s (this machine); stop one of them, or give it a data directory of its own",
					ErrNameTaken, n.Name, n.Address(), mine.Addr)
			}
			continue
		}
		tags, err := decodeTags(n.Meta)
		if err != nil {
			return fmt.Errorf("member %s at %s: %w", n.Name, n.Address(), err)
		}
		if err := t.sameCluster(n, tags); err != nil {
			return err
		}
	}
	return nil
}

// sameCluster compares clusters when both sides have one. A node that has none yet belongs to that of the members it knows, so
// that it cannot join two.
func (t *table) sameCluster(n *memberlist.Node, tags Tags) error {
	ours := t.tags.ClusterID
	if ours == "" {
		for name, m := range t.members {
			if m.Status == Alive && m.ClusterID != "" && name != n.Name {
				ours = m.ClusterID
				break
			}
		}
	}
	if ours == "" || tags.ClusterID == "" || ours == tags.ClusterID {
		return nil
	}
	return fmt.Errorf("%w: %s at %s belongs to cluster %s, this node to cluster %s", ErrOtherCluster, n.Name, n.Address(), tags.ClusterID, ours)
}

// NotifyConflict is told that a second live machine claims a member's ID.
func (t *table) NotifyConflict(existing, other *memberlist.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conflict(existing.Name, existing.Address(), other.Address())
}

func (t *table) conflict(name, first, second string) {
	if _, ok := t.conflicts[name]; !ok && len(t.conflicts) >= maxConflicts {
		return
	}
	t.conflicts[name] = Conflict{Name: name, Addr: first, New: second, Self: name == t.self, Last: time.Now()}
	t.mark()
}

// NodeMeta returns this node's tags for the others; their length was checked when they were set.
func (t *table) NodeMeta(int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := t.tags.encode()
	if err != nil {
		return nil
	}
	return b
}

// NotifyMsg ignores messages: tags are all that is gossiped.
func (t *table) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to send.
func (t *table) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to add to a full exchange.
func (t *table) LocalState(bool) []byte { return nil }

// MergeRemoteState ignores what others add to a full exchange.
func (t *table) MergeRemoteState([]byte, bool) {}

func (t *table) setTags(change func(*Tags)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.tags)
}

// takeRefusal returns why the last exchange was refused, once.
func (t *table) takeRefusal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.refusal
	t.refusal = nil
	return err
}

// list returns the members in order of ID and forgets those gone for too long.
func (t *table) list() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all, gone []Member
	for id, m := range t.members {
		if m.Status != Alive && id != t.self {
			if time.Since(m.Since) > t.remember {
				delete(t.members, id)
				continue
			}
			gone = append(gone, m)
		}
		all = append(all, m)
	}
	if len(gone) > maxMissing {
		slices.SortFunc(gone, func(a, b Member) int { return a.Since.Compare(b.Since) })
		for _, m := range gone[:len(gone)-maxMissing] {
			delete(t.members, m.ID)
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (t *table) forget(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, known := t.members[id]
	if known && m.Status == Alive || id == t.self {
		return false
	}
	delete(t.members, id)
	t.mark()
	return true
}

func (t *table) conflictList() []Conflict {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Conflict
	for name, c := range t.conflicts {
		if time.Since(c.Last) > conflictTTL {
			delete(t.conflicts, name)
			continue
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Conflict) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
