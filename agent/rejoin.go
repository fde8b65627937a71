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
)

// rejoin keeps the gossip addresses of the others on disk, and looks for those of the agent's last life until it has heard of them.
// retry_join names some servers only: when all servers come back at other addresses, the machines that ran on would never learn them
// if the servers did not come to the machines.
func (m *members) rejoin(ctx context.Context) error {
	path := m.a.dir.Path(membersFile)
	seek, err := readMembers(path)
	if err != nil {
		m.log.Warn("cannot read who was there before", "error", err)
	}
	kept := slices.Clone(seek)
	began, wrote := time.Now(), time.Time{}
	for {
		if err := pause(ctx, seekEvery); err != nil {
			return err
		}
		alive := m.aliveAddrs()
		seek = slices.DeleteFunc(seek, func(addr string) bool { return slices.Contains(alive, addr) })
		if len(seek) > 0 && time.Since(began) < seekFor {
			m.seek(ctx, seek[0])
			seek = append(seek[1:], seek[0])
		}
		if now := alive[:min(len(alive), rememberMembers)]; len(now) > 0 && !slices.Equal(now, kept) && time.Since(wrote) >= writeMembersEvery {
			wrote = time.Now()
			if err := writeMembers(path, now); err != nil {
				m.log.Debug("cannot note who is there", "error", err)
				continue
			}
			kept = slices.Clone(now)
		}
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

func readMembers(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var addrs []string
	if err := json.Unmarshal(data, &addrs); err != nil {
		return nil, err
	}
	return addrs[:min(len(addrs), rememberMembers)], nil
}

func writeMembers(path string, addrs []string) error {
	data, err := json.Marshal(addrs)
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}
