package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Identity is who an agent is, and what it must not forget when it is started again.
type Identity struct {
	NodeID    string // UUID
	ClusterID string // "" until it has joined one
	// Generation and Index are the restore generation and the index of the newest state that this node obeyed. It obeys no older.
	Generation uint64
	Index      uint64
	// Epoch names the beginning of the cluster that they are counted from.
	Epoch string `json:",omitempty"`
	// Boot is raised at each start of the agent. It begins with the time at which the node file was made, in milliseconds since
	// the Unix epoch: a node that has lost its file, and returns under its old ID, must not count from below its old reports.
	Boot   uint64
	BootID string // of the kernel, when the agent was started last

	// Rebooted: the machine was started again since the agent ran last; nothing runs any more.
	Rebooted bool `json:"-"`
	// IDUnknown: the ID was made just now. What runs on the machine may carry the one it had before, in its labels.
	IDUnknown bool `json:"-"`
	// Recovered: node.json was damaged or lost; all but the ID is new. Where the damaged file went is in RecoveredFrom.
	Recovered     bool   `json:"-"`
	RecoveredFrom string `json:"-"`
}

// errDamaged says that a node file is not what an agent wrote.
var errDamaged = errors.New("damaged")

// readIdentity reads the two files. What is missing or damaged is made anew where that is safe.
func (d *DataDir) readIdentity() (Identity, error) {
	nodeID, err := d.readNodeID()
	if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, os.ErrNotExist) {
		return Identity{}, err
	}
	id, fileErr := readNodeFile(d.Path(nodeFile))
	switch {
	case fileErr == nil && (nodeID == "" || nodeID == id.NodeID):
		return id, nil
	case fileErr == nil:
		return Identity{}, fmt.Errorf("%s says that this node is %s, and %s says %s: correct the one that is wrong",
			d.Path(nodeIDFile), nodeID, d.Path(nodeFile), id.NodeID)
	case !errors.Is(fileErr, errDamaged) && !errors.Is(fileErr, os.ErrNotExist):
		return Identity{}, fileErr
	}
	fresh := Identity{NodeID: nodeID, Boot: uint64(max(time.Now().UnixMilli(), 0))}
	fresh.Recovered = nodeID != "" || errors.Is(fileErr, errDamaged)
	if nodeID == "" {
		if d.hasLog() {
			// The log belongs to a server of the old ID: under another one it would be a stranger to its own cluster.
			return Identity{}, fmt.Errorf("%s is damaged or lost, and with it the ID that the log in %s belongs to: write the ID "+
				"(`drover server members` on another server shows it) into %s, or move %s away to join as a new server",
				d.Path(nodeFile), d.Path(logDir), d.Path(nodeIDFile), d.Path(logDir))
		}
		fresh.NodeID, fresh.IDUnknown = uuid.NewString(), true
	}
	if errors.Is(fileErr, errDamaged) {
		if fresh.RecoveredFrom, err = moveAside(d.Path(nodeFile)); err != nil {
			return Identity{}, err
		}
	}
	return fresh, nil
}

// logDir is where consensus keeps its log, below the data directory.
const logDir = "raft"

func (d *DataDir) hasLog() bool {
	entries, err := os.ReadDir(d.Path(logDir))
	return err == nil && len(entries) > 0
}

// readNodeID reads the file that holds nothing but the ID.
func (d *DataDir) readNodeID() (string, error) {
	text, err := os.ReadFile(d.Path(nodeIDFile))
	if err != nil {
		return "", err
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", d.Path(nodeIDFile), err, errDamaged)
	}
	return id.String(), nil
}

// A node file is a line of JSON and a line with its checksum.
func encodeNodeFile(id Identity) ([]byte, error) {
	data, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s\n%s\n", data, checksum(data)), nil
}

func checksum(data []byte) string {
	return fmt.Sprintf("crc32c:%08x", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

func readNodeFile(path string) (Identity, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, err
	}
	data, sum, _ := bytes.Cut(text, []byte("\n"))
	var id Identity
	if strings.TrimSpace(string(sum)) != checksum(data) {
		return Identity{}, fmt.Errorf("%s: wrong checksum: %w", path, errDamaged)
	}
	if err := json.Unmarshal(data, &id); err != nil {
		return Identity{}, fmt.Errorf("%s: %w: %w", path, err, errDamaged)
	}
	if _, err := uuid.Parse(id.NodeID); err != nil {
		return Identity{}, fmt.Errorf("%s: %w: %w", path, err, errDamaged)
	}
	return id, nil
}

// writeIdentity writes both files; the ID's own only when it is not what it was. A crash in between leaves the ID written and the
// node file missing or old: missing is recovered from, and an ID is only changed by hand or before anything depends on it.
func (d *DataDir) writeIdentity(id Identity) error {
	if _, err := uuid.Parse(id.NodeID); err != nil {
		return fmt.Errorf("node ID %q: %w", id.NodeID, err)
	}
	data, err := encodeNodeFile(id)
	if err != nil {
		return err
	}
	old, err := d.readNodeID()
	if err == nil && old != id.NodeID {
		// A change: without the old node file a crash here means "recovered", with it "two IDs", which needs a human.
		if err := os.Remove(d.Path(nodeFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err != nil || old != id.NodeID {
		if err := writeFile(d.Path(nodeIDFile), []byte(id.NodeID+"\n")); err != nil {
			return err
		}
	}
	return writeFile(d.Path(nodeFile), data)
}

// moveAside keeps a damaged file under a name that is free.
func moveAside(path string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.corrupt-%d", path, n)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return aside, os.Rename(path, aside)
		} else if err != nil {
			return "", err
		}
	}
}
