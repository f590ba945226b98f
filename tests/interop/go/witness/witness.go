// Command witness cosigns checkpoints as C2SP tlog-witness has it, with Go's sumdb/note and sumdb/tlog and none of the service's code.
//
//	witness <log vkey>[,<log vkey>...] <witness name> <state file>
//
// It listens on a free port of 127.0.0.1, prints one line "<address> <witness vkey>", and serves POST /add-checkpoint until it is killed.
// The state file holds its key and, for each log, what it cosigned last; where there is none, it makes a new key.
//
// WITNESS_FAULT makes it a bad witness:
//
//	500    every answer is 500
//	forge  it checks and remembers as ever, but its cosignature is one over another message
//	hang   it never answers
//	big    every answer is 200 with 10 MiB that mean nothing
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// cosignature is the type byte of timestamped Ed25519 cosignatures.
	cosignature = 4
	// bodyLimit is the longest body that is read.
	bodyLimit = 64 << 10
	// proofLimit is the most hashes that a consistency proof may have.
	proofLimit = 63
	// sizeLimit is the largest tree: tlog.CheckTree does not end for larger ones.
	sizeLimit = 1 << 62
)

// head is what a log had when it was cosigned last.
type head struct {
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
}

// state is what the state file holds; the logs are named by their origins.
type state struct {
	Seed []byte          `json:"seed"`
	Logs map[string]head `json:"logs"`
}

type witness struct {
	name  string
	fault string
	file  string
	logs  map[string][]note.Verifier
	key   ed25519.PrivateKey

	// lock is held from the look at the last head until the next one is in the file.
	lock  sync.Mutex
	state state
}

func main() {
	if len(os.Args) != 4 {
		fail(errors.New("usage: witness <log vkey>[,<log vkey>...] <witness name> <state file>"))
	}
	w, err := start(os.Args[1], os.Args[2], os.Args[3], os.Getenv("WITNESS_FAULT"))
	if err != nil {
		fail(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Printf("%s %s\n", listener.Addr(), w.vkey())
	fail(http.Serve(listener, w))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func start(vkeys, name, file, fault string) (*witness, error) {
	switch fault {
	case "", "500", "forge", "hang", "big":
	default:
		return nil, fmt.Errorf("there is no fault %q", fault)
	}
	if name == "" || strings.Contains(name, "+") || strings.IndexFunc(name, unicode.IsSpace) >= 0 {
		return nil, fmt.Errorf("%q cannot be a witness's name", name)
	}
	w := &witness{name: name, fault: fault, file: file, logs: make(map[string][]note.Verifier)}
	for _, vkey := range strings.Split(vkeys, ",") {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, err
		}
		w.logs[verifier.Name()] = append(w.logs[verifier.Name()], verifier)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		w.state.Seed = key.Seed()
		if err := w.state.write(file); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	} else if err := json.Unmarshal(text, &w.state); err != nil {
		return nil, err
	}
	if len(w.state.Seed) != ed25519.SeedSize {
		return nil, errors.New("no key in the state file")
	}
	w.key = ed25519.NewKeyFromSeed(w.state.Seed)
	return w, nil
}

// write puts the state in the place of the file's: after a crash there is the old one or the new one.
func (s state) write(file string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name())
	_, err1 := next.Write(append(text, '\n'))
	err2 := next.Sync()
	err3 := next.Close()
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	return os.Rename(next.Name(), file)
}

// typedKey is the public key after the type byte, as a vkey has it.
func (w *witness) typedKey() []byte {
	return append([]byte{cosignature}, w.key.Public().(ed25519.PublicKey)...)
}

func (w *witness) keyID() []byte {
	sum := sha256.Sum256(append([]byte(w.name+"\n"), w.typedKey()...))
	return sum[:4]
}

func (w *witness) vkey() string {
	return fmt.Sprintf("%s+%x+%s", w.name, w.keyID(), base64.StdEncoding.EncodeToString(w.typedKey()))
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	kind   string
	text   string
}

func refuse(status int, text string) *refusal {
	return &refusal{status, "text/plain; charset=utf-8", text + "\n"}
}

func (w *witness) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	switch w.fault {
	case "500":
		http.Error(answer, "a fault that was asked for", http.StatusInternalServerError)
		return
	case "hang":
		select {}
	case "big":
		answer.Write(bytes.Repeat([]byte("junk"), 10<<20/4))
		return
	}
	line, refused := w.serve(answer, request)
	if refused != nil {
		answer.Header().Set("Content-Type", refused.kind)
		answer.WriteHeader(refused.status)
		io.WriteString(answer, refused.text)
		return
	}
	answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(answer, line)
}

func (w *witness) serve(answer http.ResponseWriter, request *http.Request) (string, *refusal) {
	if request.URL.Path != "/add-checkpoint" {
		return "", refuse(http.StatusNotFound, "nothing is here")
	}
	if request.Method != http.MethodPost {
		answer.Header().Set("Allow", http.MethodPost)
		return "", refuse(http.StatusMethodNotAllowed, "only POST")
	}
	body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, bodyLimit))
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return "", refuse(http.StatusRequestEntityTooLarge, "the body is longer than 64 KiB")
	}
	if err != nil {
		return "", refuse(http.StatusBadRequest, err.Error())
	}
	return w.addCheckpoint(string(body))
}

// addCheckpoint is the cosignature line for what was submitted. The refusals come in the order of the specification.
func (w *witness) addCheckpoint(body string) (string, *refusal) {
	top, signed, found := strings.Cut(body, "\n\n")
	if !found {
		return "", refuse(http.StatusBadRequest, "no empty line before the checkpoint")
	}
	old, proof, err := readClaim(top)
	if err != nil {
		return "", refuse(http.StatusBadRequest, err.Error())
	}
	origin, _, _ := strings.Cut(signed, "\n")
	trusted, known := w.logs[origin]
	opened, err := note.Open([]byte(signed), note.VerifierList(trusted...))
	switch err.(type) {
	case nil:
	case *note.UnverifiedNoteError, *note.InvalidSignatureError:
		if !known {
			return "", refuse(http.StatusNotFound, "this log is unknown")
		}
		return "", refuse(http.StatusForbidden, err.Error())
	default:
		return "", refuse(http.StatusBadRequest, err.Error())
	}
	next, err := readHead(opened.Text)
	if err != nil {
		return "", refuse(http.StatusBadRequest, err.Error())
	}
	if old > next.Size {
		return "", refuse(http.StatusBadRequest, "the old size is larger than the checkpoint's")
	}

	w.lock.Lock()
	defer w.lock.Unlock()
	last, seen := w.state.Logs[origin]
	if !seen {
		last.Root = sha256.Sum256(nil)
	}
	if old != last.Size {
		return "", &refusal{http.StatusConflict, "text/x.tlog.size", fmt.Sprintf("%d\n", last.Size)}
	}
	if old == next.Size && last.Root != next.Root {
		return "", refuse(http.StatusConflict, "another root was cosigned for this size")
	}
	if old == 0 || old == next.Size {
		if len(proof) > 0 {
			return "", refuse(http.StatusUnprocessableEntity, "there is nothing to prove")
		}
	} else if err := tlog.CheckTree(proof, next.Size, next.Root, last.Size, last.Root); err != nil {
		return "", refuse(http.StatusUnprocessableEntity, err.Error())
	}
	if err := w.remember(origin, next); err != nil {
		return "", refuse(http.StatusInternalServerError, err.Error())
	}
	return w.cosign(opened.Text), nil
}

// remember writes the state with this head in it. Where that fails, the state stays as it was.
func (w *witness) remember(origin string, next head) error {
	after := state{Seed: w.state.Seed, Logs: map[string]head{}}
	for other, last := range w.state.Logs {
		after.Logs[other] = last
	}
	after.Logs[origin] = next
	if err := after.write(w.file); err != nil {
		return err
	}
	w.state = after
	return nil
}

func (w *witness) cosign(text string) string {
	if w.fault == "forge" {
		text = "another " + text
	}
	now := time.Now().Unix()
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", now, text)
	line := binary.BigEndian.AppendUint64(w.keyID(), uint64(now))
	line = append(line, ed25519.Sign(w.key, []byte(message))...)
	return fmt.Sprintf("\u2014 %s %s\n", w.name, base64.StdEncoding.EncodeToString(line))
}

// readClaim is what stands before the checkpoint: the old size and the proof.
func readClaim(top string) (int64, []tlog.Hash, error) {
	lines := strings.Split(top, "\n")
	if !strings.HasPrefix(lines[0], "old ") {
		return 0, nil, errors.New("the first line is not an old size")
	}
	old, err := readSize(lines[0][len("old "):])
	if err != nil {
		return 0, nil, err
	}
	if len(lines)-1 > proofLimit {
		return 0, nil, errors.New("the proof has more than 63 hashes")
	}
	var proof []tlog.Hash
	for _, line := range lines[1:] {
		one, err := readHash(line)
		if err != nil {
			return 0, nil, err
		}
		proof = append(proof, one)
	}
	return old, proof, nil
}

// readHead is the head that the text of a checkpoint says.
func readHead(text string) (head, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 3 {
		return head{}, errors.New("the checkpoint has not three lines")
	}
	for _, line := range lines {
		if line == "" {
			return head{}, errors.New("the checkpoint has an empty line")
		}
	}
	size, err := readSize(lines[1])
	if err != nil {
		return head{}, err
	}
	root, err := readHash(lines[2])
	return head{Size: size, Root: root}, err
}

func readSize(text string) (int64, error) {
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 || size > sizeLimit || strconv.FormatInt(size, 10) != text {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return size, nil
}

// readHash reads base 64 in its one proper form; tlog.ParseHash alone takes others too.
func readHash(text string) (tlog.Hash, error) {
	hash, err := tlog.ParseHash(text)
	if err != nil || hash.String() != text {
		return tlog.Hash{}, fmt.Errorf("%q is not a hash", text)
	}
	return hash, nil
}
