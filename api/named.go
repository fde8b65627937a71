package api

import (
	"strings"
)

// AtAgent routes are answered by the agent that ?node_id or ?server_id names, each by its node ID, the beginning of one, or its name
// ("leader" for the server that leads); without either by the agent that was asked.
const AtAgent Where = "agent"

// named is the agent that an AtAgent route goes to.
func (s *Server) named(c *call) target {
	word, servers := c.query.Get("node_id"), false
	if server := c.query.Get("server_id"); server != "" {
		if word != "" {
			return target{err: NewError(CodeInvalid, "", "give node_id or server_id, not both")}
		}
		word, servers = server, true
	}
	if word == "" {
		return target{local: true}
	}
	if servers && word == "leader" {
		id, addr, known := s.b.Cluster.Leader()
		switch {
		case !known:
			return target{err: NewError(CodeNoLeader, "name a server by its ID; `drover server members` lists them", "%s", s.noLeader())}
		case id == s.self().NodeID:
			return target{local: true}
		}
		return target{addr: addr, id: id, final: true}
	}
	m, err := s.memberNamed(word, servers)
	switch {
	case err != nil:
		return target{err: err}
	case m.ID == s.self().NodeID:
		return target{local: true}
	case m.Status != MemberAlive && m.Status != MemberSuspect:
		return target{err: NewError(CodeUnreachable, "look at `drover server members --all`", "agent %s (%s) is %s", m.Name, m.ID, m.Status)}
	}
	return target{addr: m.PeerAddr, id: m.ID, final: true}
}

// memberNamed finds the one agent that a word means.
func (s *Server) memberNamed(word string, servers bool) (Member, error) {
	kind := "agent"
	if servers {
		kind = "server"
	}
	var found []Member
	for _, m := range s.b.Cluster.Members() {
		switch {
		case servers && !m.Server:
		case m.ID == word:
			return m, nil
		case m.Name == word, strings.HasPrefix(m.ID, word):
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return Member{}, NewError(CodeNotFound, "list them with `drover server members --all`", "no %s is called %q or has an ID that begins so", kind, word)
	case 1:
		return found[0], nil
	}
	return Member{}, NewError(CodeInvalid, "give more of the ID", "%d agents are called %q or have an ID that begins so", len(found), word)
}
