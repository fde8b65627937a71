package state

import "bytes"

// KindOf is the kind of an encoded command, "" when data is none. It does not decode the command: it is for counting.
func KindOf(data []byte) string {
	if isPacked(data) {
		return RegisterJob{}.kind()
	}
	rest, ok := bytes.CutPrefix(data, []byte(`{"Kind":"`))
	if !ok {
		return ""
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return ""
	}
	if kind := string(rest[:end]); decoders()[kind] != nil {
		return kind
	}
	return ""
}

// Kinds are the names of every kind of command that may stand in the log.
func Kinds() []string {
	out := make([]string, 0, len(decoders()))
	for kind := range decoders() {
		out = append(out, kind)
	}
	return out
}
