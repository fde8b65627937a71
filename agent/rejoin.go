package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/drover-io/drover/gossip"
)

const (
	// membersFile is where an agent remembers how to reach the others.
	membersFile = "members.json"
	// rememberMembers bounds how many are remembered.
	rememberMembers = 64
	// writeMembersEvery is how often a change of the members is written down at most.
	writeMembersEvery = 10 * time.Second
	// seekEvery is how often a remembered member that nobody has mentioned is looked for, and seekFor for how long.
	seekEvery = 2 * time.Second
	seekFor   = 10 * time.Minute
	// insistFor is how long an agent whose own address has changed goes on telling all of them: they take its new address only once they
	// have found that it is dead at the old one.
	insistFor = 90 * time.Second
)

// known is what an agent remembers of gossip.
type known struct {
	Self    string   // its own gossip address
	Members []string // those of others, servers first
}

// rejoin keeps the gossip addresses of the others on disk, and looks for those of the agent's last life until it has heard of them.
// retry_join names some servers only: when all servers come back at other addresses, the machines that ran on would never learn them
// if the servers did not come to the machines.
func (m *members) rejoin(ctx context.Context) error {
	path := m.a.dir.Path(membersFile)
	kept, err := readMembers(path)
	if err != nil {
		m.log.Warn("cannot read who was there before", "error", err)
	}
	began, wrote := time.Now(), time.Time{}
	seek, moved := slices.Clone(kept.Members), kept.Self != m.a.addrs.gossip
	for {
		if err := pause(ctx, seekEvery); err != nil {
			return err
		}
		alive := m.aliveAddrs()
		if !moved || time.Since(began) > insistFor {
			seek = slices.DeleteFunc(seek, func(addr string) bool { return slices.Contains(alive, addr) })
		}
		if len(seek) > 0 && time.Since(began) < seekFor {
			m.seek(ctx, seek[0])
			seek = append(seek[1:], seek[0])
		}
		now := known{Self: m.a.addrs.gossip, Members: alive[:min(len(alive), rememberMembers)]}
		if len(now.Members) == 0 || now.Self == kept.Self && slices.Equal(now.Members, kept.Members) || time.Since(wrote) < writeMembersEvery {
			continue
		}
		wrote = time.Now()
		if err := writeMembers(path, now); err != nil {
			m.log.Debug("cannot note who is there", "error", err)
			continue
		}
		kept = now
	}
}

// seek asks one address. Whoever refuses, or does not answer, is of no concern: it is not in the configuration.
func (m *members) seek(ctx context.Context, addr string) {
	ctx, cancel := context.WithTimeout(ctx, seekEvery)
	defer cancel()
	if _, err := m.gossip.Join(ctx, []string{addr}); err != nil {
		m.log.Trace("a member of before does not answer", "addr", addr, "error", err)
	}
}

// aliveAddrs are the gossip addresses of the others, servers first.
func (m *members) aliveAddrs() []string {
	var servers, rest []string
	for _, x := range m.gossip.Members() {
		switch {
		case x.Status != gossip.Alive || x.Tags.ID == m.a.id.NodeID:
		case x.Tags.Server:
			servers = append(servers, x.Addr)
		default:
			rest = append(rest, x.Addr)
		}
	}
	slices.Sort(servers)
	slices.Sort(rest)
	return append(servers, rest...)
}

func readMembers(path string) (known, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return known{}, nil
	}
	if err != nil {
		return known{}, err
	}
	var k known
	if err := json.Unmarshal(data, &k); err != nil {
		return known{}, err
	}
	k.Members = k.Members[:min(len(k.Members), rememberMembers)]
	return k, nil
}

func writeMembers(path string, k known) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}
