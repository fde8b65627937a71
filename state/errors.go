package state

import (
	"errors"
	"fmt"
)

// Errors that commands and decoders return. They are wrapped with the object's name; test with errors.Is.
var (
	// ErrNotFound says that the job, node or allocation named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the command contradicts what is stored.
	ErrConflict = errors.New("conflict")
	// ErrIndexMismatch says that the row has changed since the caller read it. It is an ErrConflict.
	ErrIndexMismatch = fmt.Errorf("index does not match (%w)", ErrConflict)
	// ErrStaleTerm says that the command comes from a leader of another term than the one that leads.
	ErrStaleTerm = errors.New("stale term")
	// ErrInvalid says that the command, or the row in it, is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrLimit says that something is larger than its documented limit. It is an ErrInvalid.
	ErrLimit = fmt.Errorf("limit exceeded (%w)", ErrInvalid)
	// ErrLevel says that a command or a node does not fit the cluster's level.
	ErrLevel = errors.New("level")
	// ErrOutgrown says that the cluster was raised to a level that this binary cannot apply: the agent must exit, its state
	// is behind from here on.
	ErrOutgrown = errors.New("cluster has outgrown this version")
	// ErrCorrupt says that a snapshot file is cut, altered, or of another format.
	ErrCorrupt = errors.New("corrupt snapshot")
)
