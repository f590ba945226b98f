<?php
// SimpleSAMLphp as an identity provider, under `php -S`: it keeps everything in the folder CEDARKEEP_IDP_DIR. Its URLs are `https://`; TLS is
// left to whoever stands in front of it.
$folder = getenv('CEDARKEEP_IDP_DIR');
$config = [
    'baseurlpath' => 'https://localhost:' . $_SERVER['SERVER_PORT'] . '/',
    'certdir' => "$folder/",
    'loggingdir' => "$folder/",
    'datadir' => "$folder/",
    'tempdir' => "$folder/",
    'metadatadir' => __DIR__ . '/metadata/',
    'metadata.sources' => [['type' => 'flatfile']],
    'secretsalt' => hash_file('sha256', "$folder/idp.pem"),
    'auth.adminpassword' => hash_file('sha512', "$folder/idp.pem"),
    'technicalcontact_email' => 'nobody@example.com',
    'timezone' => 'UTC',
    'logging.handler' => 'errorlog',
    'logging.level' => SimpleSAML\Logger::WARNING,
    'enable.saml20-idp' => true,
    'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
    'language.available' => ['en'],
    'language.default' => 'en',
    'store.type' => 'phpsession',
    'session.phpsession.savepath' => "$folder/",
    'session.cookie.secure' => true,
];
