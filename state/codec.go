package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
)

// MaxCommandBytes is the largest encoded command: one Raft entry.
const MaxCommandBytes = 1 << 20

// envelope is a command as it stands in the log.
type envelope struct {
	Kind  string
	Level int // the level that the command needs
	Body  json.RawMessage
}

// EncodeFor is Encode for the log of a cluster of a level: in the shortest form that its servers can read.
func EncodeFor(cmd Command, level int) ([]byte, error) {
	if level < 2 {
		return Encode(cmd)
	}
	switch c := cmd.(type) {
	case ApplyPlan:
		return Encode(c.columnar())
	case RegisterJob:
		return encodePacked(c)
	}
	return Encode(cmd)
}

// Encode writes a command for the log, as JSON. It is the door before every proposal: it validates the job or the node in the command
// (ErrInvalid, with every *FieldError) and refuses one larger than MaxCommandBytes (ErrLimit).
func Encode(cmd Command) ([]byte, error) {
	if cmd == nil {
		return nil, fmt.Errorf("encode nothing: %w", ErrInvalid)
	}
	if v, ok := cmd.(validated); ok {
		if err := v.validate(); err != nil {
			return nil, err
		}
	}
	body := marshal(cmd)
	if bytes.Equal(body, []byte("null")) {
		return nil, fmt.Errorf("encode %s: it holds what JSON cannot: %w", cmd.kind(), ErrInvalid)
	}
	data := enveloped(cmd.kind(), levelOf(cmd), body)
	if len(data) > MaxCommandBytes {
		return nil, fmt.Errorf("encode %s: %d bytes, at most %d: %w", cmd.kind(), len(data), MaxCommandBytes, ErrLimit)
	}
	return data, nil
}

// Decode reads a command from the log. What it does not know (a kind, a field, a level) it refuses.
func Decode(data []byte) (Command, error) {
	if len(data) > MaxCommandBytes {
		return nil, fmt.Errorf("command of %d bytes, at most %d: %w", len(data), MaxCommandBytes, ErrLimit)
	}
	if isPacked(data) {
		return decodePacked(data)
	}
	if kind, level, body, ok := opened(data); ok && level >= 1 && level <= MaxLevel {
		if cmd, err := decodeBody(kind, body); err == nil {
			return cmd, nil
		}
	}
	// What is wrong with it is said by those who look at the whole.
	var env envelope
	if err := strict(data, &env); err != nil {
		return nil, fmt.Errorf("read the command: %w: %w", err, ErrInvalid)
	}
	if env.Level > MaxLevel {
		return nil, fmt.Errorf("command %s needs level %d, this version knows %d: %w", env.Kind, env.Level, MaxLevel, ErrLevel)
	}
	if env.Level < 1 {
		return nil, fmt.Errorf("command %s has level %d: %w", env.Kind, env.Level, ErrInvalid)
	}
	cmd, err := decodeBody(env.Kind, env.Body)
	if err != nil {
		return nil, fmt.Errorf("read command %s: %w: %w", env.Kind, err, ErrInvalid)
	}
	return cmd, nil
}

func decodeBody(kind string, body []byte) (Command, error) {
	decode := decoders()[kind]
	if decode == nil {
		return nil, fmt.Errorf("kind %q is not known", kind)
	}
	return decode(body)
}

// decoders are the kinds of commands that may stand in the log.
var decoders = sync.OnceValue(func() map[string]func([]byte) (Command, error) {
	return map[string]func([]byte) (Command, error){
		"InitCluster":        decodeAs[InitCluster],
		"Lead":               decodeAs[Lead],
		"RaiseLevel":         decodeAs[RaiseLevel],
		"RegisterJob":        decodeAs[RegisterJob],
		"StopJob":            decodeAs[StopJob],
		"StopAlloc":          decodeAs[StopAlloc],
		"RegisterNode":       decodeAs[RegisterNode],
		"SetNodeStatus":      decodeAs[SetNodeStatus],
		"DeclareNodeLost":    decodeAs[DeclareNodeLost],
		"SetEligibility":     decodeAs[SetEligibility],
		"AllowEvictions":     decodeAs[AllowEvictions],
		"ApplyPlan":          decodePlan,
		"Report":             decodeAs[Report],
		"CollectGarbage":     decodeAs[CollectGarbage],
		"SetSchedulerConfig": decodeAs[SetSchedulerConfig],
		"UpsertNodePool":     decodeAs[UpsertNodePool],
		"DeleteNodePool":     decodeAs[DeleteNodePool],
		"UpsertImage":        decodeAs[UpsertImage],
		"RemoveImage":        decodeAs[RemoveImage],
		"HoldImages":         decodeAs[HoldImages],
	}
})

func decodeAs[C Command](body []byte) (Command, error) {
	var c C
	if err := strict(body, &c); err != nil {
		return nil, err
	}
	return c, nil
}
