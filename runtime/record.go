package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

const (
	recordName   = "alloc.json"
	recordFormat = 1
)

// phase is where a task stands in its life. It is recorded before the act that it announces.
type phase string

const (
	phasePending  phase = "pending"  // to be started when due; what an earlier run left is removed first
	phaseStarting phase = "starting" // may or may not run: the driver knows
	phaseRunning  phase = "running"  // was started; how it ended is the driver's to say
	phaseDead     phase = "dead"     // absorbs
)

// record is all that the node must remember of one allocation beyond what the drivers know. Stored values are immutable:
// clone, change, put.
type record struct {
	Format  int
	Alloc   *state.Alloc // as assigned, without what this node says of it
	Job     *state.Job   // with the allocation's group only
	BootID  string       // of the machine, when tasks were last known to run
	Tasks   map[string]taskRecord
	Stop    string `json:",omitempty"` // why it is being stopped; "" while it is not
	Final   string `json:",omitempty"` // ClientComplete or ClientFailed once decided; absorbs
	Reason  string `json:",omitempty"` // of Final, one sentence
	Ended   bool   `json:",omitempty"` // nothing is left on the machine but the directory
	EndedAt int64  `json:",omitempty"` // the node's wall clock, nanoseconds
}

// taskRecord is one task's part of a record.
type taskRecord struct {
	Phase  phase
	Runs   int           // starts that were tried
	Window restartWindow // of the restart policy
	DueAt  int64         `json:",omitempty"` // not started before this; the node's wall clock, nanoseconds
	Why    string        `json:",omitempty"` // it failed
	State  state.TaskState
}

// sealed is the file's content: a flipped bit must not pass for a record.
type sealed struct {
	Sum    string // CRC-32C of Record, hexadecimal
	Record json.RawMessage
}

var errRecordCorrupt = errors.New("record is corrupt")

func castagnoli(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// newRecord makes the record of an allocation that was just assigned.
func newRecord(as Assigned, bootID string) *record {
	rec := &record{Format: recordFormat, BootID: bootID, Tasks: map[string]taskRecord{}}
	rec.assign(as)
	return rec
}

// assign takes over the rows of an order and gives tasks that are new their first state.
func (r *record) assign(as Assigned) {
	r.Alloc, r.Job = assignedRow(as.Alloc), trimJob(as.Job, as.Alloc.TaskGroup)
	r.Tasks = maps.Clone(r.Tasks)
	for _, t := range r.group().Tasks {
		if _, ok := r.Tasks[t.Name]; !ok {
			r.Tasks[t.Name] = taskRecord{Phase: phasePending, State: state.TaskState{
				State:  state.TaskPending,
				Events: []state.TaskEvent{event(EventReceived, "received by node")},
			}}
		}
	}
}

// assignedRow is the leader's part of an allocation, without indexes that change with every report.
func assignedRow(a *state.Alloc) *state.Alloc {
	row := *a
	row.ClientStatus, row.ClientDescription, row.TaskStates = "", "", state.TaskStates{}
	row.ReportBoot, row.ReportSeq, row.ClientModifyTime, row.ModifyIndex = 0, 0, 0, 0
	return &row
}

// trimJob leaves the job's own fields and one group.
func trimJob(j *state.Job, group string) *state.Job {
	t := *j
	t.Blocked = nil
	t.ModifyIndex, t.Stop = 0, false
	t.TaskGroups = nil
	for _, g := range j.TaskGroups {
		if g.Name == group {
			t.TaskGroups = []state.TaskGroup{g}
		}
	}
	return &t
}

// sameRows reports whether an order says what the record has already.
func (r *record) sameRows(as Assigned) bool {
	if r.Job == nil || r.Job.Version != as.Job.Version || r.Job.CreateIndex != as.Job.CreateIndex {
		return false // a version of a job never changes, its row's indexes do
	}
	return reflect.DeepEqual(r.Alloc, assignedRow(as.Alloc))
}

// group is the allocation's task group; empty for a record made of an allocation that nobody described.
func (r *record) group() *state.TaskGroup {
	if r.Job == nil || len(r.Job.TaskGroups) == 0 {
		return &state.TaskGroup{}
	}
	return &r.Job.TaskGroups[0]
}

// task finds one task's specification.
func (r *record) task(name string) *state.Task {
	g := r.group()
	for i := range g.Tasks {
		if g.Tasks[i].Name == name {
			return &g.Tasks[i]
		}
	}
	return nil
}

func (r *record) clone() *record {
	c := *r
	c.Tasks = maps.Clone(r.Tasks)
	return &c
}

// setTask changes one task of a cloned record.
func (r *record) setTask(name string, change func(*taskRecord)) {
	t := r.Tasks[name]
	change(&t)
	switch t.Phase {
	case phasePending, phaseStarting:
		t.State.State = state.TaskPending
	case phaseRunning:
		t.State.State = state.TaskRunning
	case phaseDead:
		t.State.State = state.TaskDead
		if t.State.FinishedAt == 0 {
			t.State.FinishedAt = time.Now().UnixNano()
		}
	}
	r.Tasks[name] = t
}

// status is the allocation's client status and a sentence about it. Terminal only when nothing is left on the machine: until
// then the leader must not give its resources and ports to others.
func (r *record) status() (status, description string) {
	if r.Ended {
		return r.Final, r.Reason
	}
	running, dead, ran := 0, 0, false
	for _, t := range r.Tasks {
		switch t.Phase {
		case phaseRunning:
			running++
		case phaseDead:
			dead++
		}
		ran = ran || t.State.StartedAt != 0
	}
	switch {
	case r.Final != "" && !ran: // a roll-out must not take for running what never ran
		return state.ClientPending, "nothing of it ran, cleaning up"
	case r.Final != "" || dead == len(r.Tasks) && ran:
		return state.ClientRunning, "its tasks have ended, cleaning up"
	case running > 0 && r.Stop != "":
		return state.ClientRunning, "stopping"
	case running > 0:
		return state.ClientRunning, "tasks are running"
	}
	return state.ClientPending, "tasks are being started"
}

// readRecord reads an allocation's record. errRecordCorrupt: it cannot be believed. fs.ErrNotExist: there is none.
func readRecord(dir string) (*record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return nil, err
	}
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecordCorrupt, err)
	}
	if castagnoli(s.Record) != s.Sum {
		return nil, fmt.Errorf("%w: its checksum is wrong", errRecordCorrupt)
	}
	var rec record
	if err := json.Unmarshal(s.Record, &rec); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecordCorrupt, err)
	}
	if rec.Format != recordFormat || !rec.Alloc.Whole() || rec.Alloc.ID != filepath.Base(dir) {
		return nil, fmt.Errorf("%w: format %d is not %d, or it is another allocation's", errRecordCorrupt, rec.Format, recordFormat)
	}
	return &rec, nil
}

// writeRecord replaces an allocation's record. After a crash there is the old one or the new one.
func writeRecord(dir string, rec *record, sync bool) error {
	body, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	data, err := json.Marshal(sealed{Sum: castagnoli(body), Record: body})
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return writeFile(filepath.Join(dir, recordName), append(data, '\n'), sync)
}

// writeFile replaces a file atomically: temporary file, sync, rename, sync of the directory.
func writeFile(path string, data []byte, sync bool) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // the error that counts is the one above; the file is overwritten next time
		return err
	}
	if !sync {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// scanAllocs lists the allocation directories and reads their records. A record that cannot be believed is moved aside, and
// its allocation is found without one.
func scanAllocs(dir string, warn func(id string, err error)) (map[string]*record, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]*record{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list allocations: %w", err)
	}
	found := map[string]*record{}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		rec, err := readRecord(path)
		if errors.Is(err, errRecordCorrupt) {
			err = errors.Join(err, os.Rename(filepath.Join(path, recordName), filepath.Join(path, recordName+".corrupt")))
		}
		if err != nil {
			warn(e.Name(), err)
			rec = nil
		}
		found[e.Name()] = rec
	}
	return found, nil
}
