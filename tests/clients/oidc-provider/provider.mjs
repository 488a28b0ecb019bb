// A standard OpenID provider, with nothing of the gate's own in it: the issuer that the gate's verifier has to
// get on with. Prints one line of JSON when it listens; ends when its standard input does.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const jwk = (type, options, more) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', ...more,
});
const resourceServer = (accessTokenFormat) => ({
  scope: 'call', audience: undefined, accessTokenTTL: 300, accessTokenFormat, jwt: { sign: { alg: 'ES256' } },
});
const resources = {
  'https://gate.example.test/agents': resourceServer('jwt'),
  'https://gate.example.com/agents': resourceServer('jwt'),
  'https://gate.example.com/approvers': resourceServer('jwt'),
  'https://elsewhere.example.test/': resourceServer('jwt'),
  'https://opaque.example.test/': resourceServer('opaque'),
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'refund-bot',
      client_secret: 'a-secret-for-a-test',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }, {
      client_id: 'people',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      redirect_uris: ['http://127.0.0.1/signed-in'],
      response_types: ['code'],
    }],
    jwks: { keys: [
      jwk('rsa', { modulusLength: 2048 }, { alg: 'RS256', kid: 'rsa' }),
      jwk('ec', { namedCurve: 'P-256' }, { alg: 'ES256', kid: 'ec' }),
    ] },
    cookies: { keys: ['a-key-for-a-test'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      dPoP: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (ctx, resource) => resources[resource],
      },
    },
    extraTokenClaims: (ctx, { kind, accountId }) => (kind === 'ClientCredentials'
      ? { owner: 'ann', groups: ['billing-agents'], realm: { groups: ['bots', 'refunds'] } }
      : { name: accountId, groups: ['finance-leads'] }),
  });
  server.on('request', provider.callback());
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
