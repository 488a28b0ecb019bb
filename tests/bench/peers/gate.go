// What a team writes in Go when it writes a gate itself: httputil.ReverseProxy behind a bearer that is verified and
// remembered, a route table, a decision that is remembered, clean headers, and a line in a log. A held call waits until
// somebody posts to /approve. Usage: gate PORT ORIGIN PEM ISSUER AUDIENCE LOG [CERTIFICATE KEY CA], the last three for
// TLS on both sides.
package main

import (
	"bufio"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const decisionLifetime = 30 * time.Second
const logBytes = 64 << 20

type bearer struct {
	subject string
	expires int64
}

type decision struct {
	allowed, held bool
	until         time.Time
}

type line struct {
	At                            time.Time
	Subject, Action, Method, Path string
	Allowed                       bool
}

type gate struct {
	key              *rsa.PublicKey
	issuer, audience string
	proxy            *httputil.ReverseProxy

	verifiedLock sync.RWMutex
	verified     map[string]bearer
	decidedLock  sync.RWMutex
	decided      map[[2]string]decision
	linesLock    sync.Mutex
	lines        []line
	waitingLock  sync.Mutex
	waiting      []chan struct{}
}

func (g *gate) verify(text string) (bearer, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return bearer{}, errors.New("not a token")
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Aud, Sub string
		Exp           int64
	}
	if err := decode(parts[0], &header); err != nil || header.Alg != "RS256" {
		return bearer{}, errors.New("not RS256")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return bearer{}, err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(g.key, crypto.SHA256, digest[:], signature); err != nil {
		return bearer{}, err
	}
	if err := decode(parts[1], &claims); err != nil {
		return bearer{}, err
	}
	if claims.Iss != g.issuer || claims.Aud != g.audience || claims.Exp < time.Now().Unix() {
		return bearer{}, errors.New("not for us")
	}
	return bearer{claims.Sub, claims.Exp}, nil
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (g *gate) admit(authorization string) (string, bool) {
	if !strings.HasPrefix(authorization, "Bearer ") {
		return "", false
	}
	text := authorization[7:]
	g.verifiedLock.RLock()
	known, found := g.verified[text]
	g.verifiedLock.RUnlock()
	if found && known.expires > time.Now().Unix() {
		return known.subject, true
	}
	known, err := g.verify(text)
	if err != nil {
		return "", false
	}
	g.verifiedLock.Lock()
	g.verified[text] = known
	g.verifiedLock.Unlock()
	return known.subject, true
}

func action(method, path string) string {
	switch {
	case method == "GET" && path == "/api/v1/models":
		return "models.list"
	case method == "GET" && strings.HasPrefix(path, "/api/v1/files/"):
		return "files.get"
	case method == "GET" && strings.HasPrefix(path, "/api/v1/tickets/"):
		return "tickets.get"
	case method == "POST" && path == "/api/v1/tickets":
		return "tickets.post"
	case method == "PUT" && strings.HasPrefix(path, "/api/v1/files/"):
		return "files.put"
	case method == "POST" && path == "/api/v1/refunds":
		return "refunds.post"
	}
	return ""
}

func (g *gate) decide(subject, action string) decision {
	key := [2]string{subject, action}
	g.decidedLock.RLock()
	known, found := g.decided[key]
	g.decidedLock.RUnlock()
	if found && known.until.After(time.Now()) {
		return known
	}
	known = decision{action != "", action == "refunds.post", time.Now().Add(decisionLifetime)}
	g.decidedLock.Lock()
	g.decided[key] = known
	g.decidedLock.Unlock()
	return known
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/approve" || r.URL.Path == "/held" {
		g.control(w, r.URL.Path == "/approve")
		return
	}
	subject, known := g.admit(r.Header.Get("Authorization"))
	if !known {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	named := action(r.Method, r.URL.Path)
	decided := g.decide(subject, named)
	g.linesLock.Lock()
	g.lines = append(g.lines, line{time.Now(), subject, named, r.Method, r.URL.Path, decided.allowed})
	g.linesLock.Unlock()
	if !decided.allowed {
		http.Error(w, "denied", http.StatusForbidden)
		return
	}
	if decided.held && !g.wait(r) {
		return
	}
	r.Header.Del("Authorization")
	r.Header.Set("X-Agent", subject)
	g.proxy.ServeHTTP(w, r)
}

func (g *gate) wait(r *http.Request) bool {
	approved := make(chan struct{})
	g.waitingLock.Lock()
	g.waiting = append(g.waiting, approved)
	g.waitingLock.Unlock()
	select {
	case <-approved:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (g *gate) control(w http.ResponseWriter, approve bool) {
	g.waitingLock.Lock()
	defer g.waitingLock.Unlock()
	fmt.Fprint(w, len(g.waiting))
	if approve {
		for _, approved := range g.waiting {
			close(approved)
		}
		g.waiting = nil
	}
}

func (g *gate) write(path string) {
	file, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	buffered := bufio.NewWriterSize(file, 1<<20)
	written := 0
	for range time.Tick(50 * time.Millisecond) {
		g.linesLock.Lock()
		lines := g.lines
		g.lines = nil
		g.linesLock.Unlock()
		for _, one := range lines {
			text, _ := json.Marshal(one)
			buffered.Write(append(text, '\n'))
			written += len(text)
		}
		buffered.Flush()
		if written > logBytes {
			file.Truncate(0)
			file.Seek(0, 0)
			written = 0
		}
	}
}

type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte {
	if kept := b.Pool.Get(); kept != nil {
		return *(kept.(*[]byte))
	}
	return make([]byte, 32*1024)
}

func (b *buffers) Put(used []byte) { b.Pool.Put(&used) }

func publicKey(path string) *rsa.PublicKey {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

func authorities(path string) *x509.CertPool {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func main() {
	port, origin, pemFile, issuer, audience, logFile := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]
	target, err := url.Parse(origin)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	transport := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true, IdleConnTimeout: 90 * time.Second}
	proxy.Transport = transport
	proxy.BufferPool = &buffers{}
	g := &gate{
		key: publicKey(pemFile), issuer: issuer, audience: audience, proxy: proxy,
		verified: map[string]bearer{}, decided: map[[2]string]decision{},
	}
	go g.write(logFile)
	server := &http.Server{Addr: "127.0.0.1:" + port, Handler: g}
	if len(os.Args) < 10 {
		log.Fatal(server.ListenAndServe())
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities(os.Args[9])}
	log.Fatal(server.ListenAndServeTLS(os.Args[7], os.Args[8]))
}
