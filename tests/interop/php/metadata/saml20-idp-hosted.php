<?php
// The provider itself: CEDARKEEP_IDP_SIGNS is `assertion`, `response` or `both`, CEDARKEEP_IDP_FORMAT is `persistent` or `email`.
$signs = getenv('CEDARKEEP_IDP_SIGNS');
$by_address = getenv('CEDARKEEP_IDP_FORMAT') === 'email';
$address = SAML2\Constants::NAMEID_EMAIL_ADDRESS;
$metadata['https://localhost:' . $_SERVER['SERVER_PORT'] . '/idp'] = [
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.pem',
    'certificate' => 'idp.crt',
    'auth' => 'people',
    'saml20.sign.response' => $signs !== 'assertion',
    'saml20.sign.assertion' => $signs !== 'response',
    'NameIDFormat' => $by_address ? $address : SAML2\Constants::NAMEID_PERSISTENT,
    'authproc' => [
        1 => $by_address
            ? ['class' => 'saml:AttributeNameID', 'attribute' => 'mail', 'Format' => $address]
            : ['class' => 'saml:PersistentNameID', 'attribute' => 'uid'],
    ],
];
