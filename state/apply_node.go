package state

import "fmt"

// maxReturns bounds Node.Returns.
const maxReturns = 4

// lostByOperator is the description of a node whose machine an operator has declared gone.
const lostByOperator = "declared lost by an operator"

func (c RegisterNode) apply(t *tx) (any, error) {
	if c.Node == nil {
		return nil, fmt.Errorf("register a node: there is none: %w", ErrInvalid)
	}
	if err := c.Node.admissible(); err != nil {
		return nil, fmt.Errorf("register node %q: %w: %w", truncate(c.Node.ID, maxNameBytes), err, ErrInvalid)
	}
	if level := t.next.meta.Level; c.Node.Level < level {
		return nil, fmt.Errorf("register node %s (%s): its agent knows level %d, the cluster is at %d; upgrade the agent: %w",
			c.Node.Name, c.Node.ID, c.Node.Level, level, ErrLevel)
	}
	n := *c.Node
	old := t.next.Node(n.ID)
	if old == nil {
		t.wantPool(n.NodePool)
		t.admitNode(&n)
		return RegisterNodeResult{Generation: n.Generation, Boot: n.Boot}, nil
	}
	if old.Status != NodeStatusDown && old.PeerAddr != n.PeerAddr && !c.Moved {
		return nil, fmt.Errorf("register node %s (%s) at %s: node %s at %s has this ID and is %s; give this machine an ID of its own, "+
			"or declare the other one lost: %w", n.Name, n.ID, n.PeerAddr, old.Name, old.PeerAddr, old.Status, ErrConflict)
	}
	t.wantPool(n.NodePool)
	t.takeBack(old, &n)
	if n.Boot == old.Boot && n.Status == old.Status && sameJSON(&n, old) {
		return RegisterNodeResult{Generation: old.Generation, Boot: old.Boot}, nil
	}
	t.putNode(&n)
	return RegisterNodeResult{Generation: n.Generation, Boot: n.Boot}, nil
}

// admitNode stores a machine that the cluster has not seen before. A generation is the index at which it began, so that a
// node that was removed and comes back never has an old one again.
func (t *tx) admitNode(n *Node) {
	n.Boot = max(n.Boot, 1)
	n.Generation = t.index
	n.Status, n.StatusDescription, n.StatusUpdatedAt = NodeStatusReady, "", t.now
	n.Eligibility = NodeEligible
	n.Returns = nil
	n.CreateIndex, n.ModifyIndex = t.index, t.index
	t.putNode(n)
}

// takeBack fills in what is the cluster's on a node that it knows. The agent's boot counter is taken as it is when it is higher
// than, or the same as, the one known. Another one belongs to an agent that lost its data directory: it gets the next one,
// because its reports must be newer than those it made before.
func (t *tx) takeBack(old, n *Node) {
	if n.Boot < old.Boot || n.Boot == old.Boot && n.BootID != old.BootID {
		n.Boot = old.Boot + 1
	}
	n.Status, n.StatusDescription, n.StatusUpdatedAt = old.Status, old.StatusDescription, old.StatusUpdatedAt
	n.Eligibility, n.Returns, n.Generation = old.Eligibility, old.Returns, old.Generation
	n.CreateIndex, n.ModifyIndex = old.CreateIndex, old.ModifyIndex
	if n.Boot != old.Boot {
		n.Generation = t.index
	}
	t.judge(n, NodeStatusReady, "")
}

// judge sets the status of a private copy of a node, and reports whether that changed anything.
func (t *tx) judge(n *Node, status, description string) bool {
	if n.Status == status {
		return false
	}
	if n.Status == NodeStatusDown && status == NodeStatusReady {
		n.Generation = t.index
		n.Returns = lastOf(append(n.Returns[:len(n.Returns):len(n.Returns)], t.now), maxReturns)
	}
	n.Status, n.StatusDescription, n.StatusUpdatedAt = status, truncate(description, maxTextBytes), t.now
	return true
}

func (c SetNodeStatus) apply(t *tx) (any, error) {
	for _, ch := range c.Changes {
		switch ch.Status {
		case NodeStatusReady, NodeStatusDown, NodeStatusDisconnected:
		default:
			return nil, fmt.Errorf("set the status of node %q to %q: %w", ch.NodeID, ch.Status, ErrInvalid)
		}
	}
	var result SetNodeStatusResult
	for _, ch := range c.Changes {
		old := t.next.Node(ch.NodeID)
		if old == nil || old.Boot != ch.Boot {
			result.Dropped++
			continue
		}
		n := *old
		if t.judge(&n, ch.Status, ch.Description) {
			t.putNode(&n)
			result.Changed++
		}
	}
	return result, nil
}

func (c DeclareNodeLost) apply(t *tx) (any, error) {
	old := t.next.Node(c.NodeID)
	if old == nil {
		return nil, fmt.Errorf("declare node %q lost: %w", c.NodeID, ErrNotFound)
	}
	n := *old
	if t.judge(&n, NodeStatusDown, lostByOperator) {
		t.putNode(&n)
	}
	return Done{Index: t.index}, nil
}

func (c SetEligibility) apply(t *tx) (any, error) {
	if c.Eligibility != NodeEligible && c.Eligibility != NodeIneligible {
		return nil, fmt.Errorf("set the eligibility of node %q to %q: it is %q or %q: %w",
			c.NodeID, c.Eligibility, NodeEligible, NodeIneligible, ErrInvalid)
	}
	old := t.next.Node(c.NodeID)
	if old == nil {
		return nil, fmt.Errorf("set the eligibility of node %q: %w", c.NodeID, ErrNotFound)
	}
	if old.Eligibility != c.Eligibility {
		n := *old
		n.Eligibility = c.Eligibility
		t.putNode(&n)
	}
	return Done{Index: t.index}, nil
}
