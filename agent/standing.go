package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"
)

const (
	// standingFile is where a server notes what it knows to be committed: raft does not write it down, and after a start without a
	// leader nobody could say what is safe.
	standingFile = "standing.json"
	// noteEvery is how often a server notes it.
	noteEvery = 5 * time.Second
)

// standing is what a server knew of the log when it was last in touch with a leader. It is for an operator who must decide about a
// recovery, and nothing depends on it.
type standing struct {
	At     int64  // wall clock, nanoseconds since the Unix epoch
	Commit uint64 // newest entry known to be committed
	Leader string // node ID of the leader
}

// noteStanding writes down what this server knows, for as long as it is in touch.
func (s *server) noteStanding(ctx context.Context) error {
	for {
		if id, _ := s.raft.Leader(); id != "" && s.raft.LastContact() < noteEvery {
			now := standing{At: time.Now().UnixNano(), Commit: s.raft.CommitIndex(), Leader: id}
			s.standing.Store(&now)
			if err := writeStanding(s.a.dir.Path(standingFile), now); err != nil {
				s.log.Debug("cannot note what is committed", "error", err)
			}
		}
		if err := pause(ctx, noteEvery); err != nil {
			return err
		}
	}
}

// writeStanding replaces the file. It is not synced: after a power cut the one before serves too.
func writeStanding(path string, now standing) error {
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// lastStanding is what was noted last, in this life of the agent or an earlier one.
func (s *server) lastStanding() standing {
	if now := s.standing.Load(); now != nil {
		return *now
	}
	var old standing
	data, err := os.ReadFile(s.a.dir.Path(standingFile))
	if err == nil {
		err = json.Unmarshal(data, &old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("cannot read what was known to be committed", "error", err)
	}
	if err != nil {
		return standing{}
	}
	return old
}
