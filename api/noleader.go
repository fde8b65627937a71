package api

import "fmt"

// noLeader says in a sentence why there is no leader, as far as this agent can see.
func (s *Server) noLeader() string {
	alive := map[string]bool{}
	all, begun := 0, false
	for _, m := range s.b.Cluster.Members() {
		if m.Server && m.Status != MemberLeft {
			all++
			alive[m.ID] = m.Status == MemberAlive
			begun = begun || m.ClusterID != ""
		}
	}
	if all == 0 {
		return "no leader: this agent knows of no server yet"
	}
	if peers := s.b.Cluster.RaftPeers(); len(peers) > 0 {
		return electing(countVoters(peers, alive))
	}
	reachable := 0
	for _, ok := range alive {
		if ok {
			reachable++
		}
	}
	if !begun {
		return fmt.Sprintf("no leader: the cluster has not begun; %d of its servers are up and wait for as many as bootstrap_expect says", reachable)
	}
	return electing(reachable, all)
}

// countVoters counts the servers with a vote, and those of them that gossip thinks alive.
func countVoters(peers []RaftPeer, alive map[string]bool) (reachable, all int) {
	for _, p := range peers {
		if !p.Voter {
			continue
		}
		all++
		if alive[p.ID] {
			reachable++
		}
	}
	return reachable, all
}

func electing(reachable, all int) string {
	if reachable > all/2 {
		return fmt.Sprintf("no leader: %d of %d servers reachable, an election is under way", reachable, all)
	}
	return fmt.Sprintf("no leader: %d of %d servers reachable, %d needed", reachable, all, all/2+1)
}
