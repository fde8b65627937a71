package gossip

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// MaxTagBytes is how much a member can tell about itself, encoded: memberlist's limit.
const MaxTagBytes = 512

// ErrTagsTooLong is wrapped by what Open and UpdateTags return for tags over MaxTagBytes.
var ErrTagsTooLong = errors.New("tags too long")

// Tags is what a member tells about itself. The short names on the wire leave room for the values; members ignore names they do
// not know, so a field can be added while old agents run.
type Tags struct {
	ID           string `json:"i,omitempty"` // node ID; always Config.Name
	Name         string `json:"n,omitempty"` // what people call the node
	Datacenter   string `json:"d,omitempty"`
	Region       string `json:"r,omitempty"`
	ClusterID    string `json:"c,omitempty"` // empty until the node belongs to a cluster
	Server       bool   `json:"s,omitempty"` // replicates the state
	Client       bool   `json:"w,omitempty"` // runs work
	Version      string `json:"v,omitempty"` // of the agent
	PeerAddr     string `json:"p,omitempty"` // host:port for other agents
	HTTPAddr     string `json:"h,omitempty"` // host:port of the API
	Level        int    `json:"l,omitempty"` // highest cluster level that the agent can apply
	Expect       int    `json:"e,omitempty"` // servers it waits for before the first bootstrap
	Bootstrapped bool   `json:"b,omitempty"` // has a log
	Epoch        string `json:"q,omitempty"` // of a server's state: which beginning of the cluster it is of
	Generation   uint64 `json:"g,omitempty"` // of a server's state: its restore generation
	Left         bool   `json:"x,omitempty"` // is about to leave on purpose; set by Leave
}

// encode returns the wire form, or an error that names the part that takes the most room.
func (t Tags) encode() ([]byte, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode tags: %w", err)
	}
	if len(b) <= MaxTagBytes {
		return b, nil
	}
	name, size := t.longest()
	return nil, fmt.Errorf("%w: they take %d bytes of %d; the longest is %s with %d: shorten it", ErrTagsTooLong, len(b), MaxTagBytes, name, size)
}

func (t Tags) longest() (name string, size int) {
	v := reflect.ValueOf(t)
	for i := range v.NumField() {
		if v.Field(i).Kind() != reflect.String {
			continue
		}
		if n := len(v.Field(i).String()); n > size {
			name, size = v.Type().Field(i).Name, n
		}
	}
	return name, size
}

func decodeTags(meta []byte) (Tags, error) {
	var t Tags
	if err := json.Unmarshal(meta, &t); err != nil {
		return Tags{}, fmt.Errorf("decode tags: %w", err)
	}
	return t, nil
}
